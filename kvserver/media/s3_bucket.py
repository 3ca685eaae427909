"""The calls that an engine makes on an S3 bucket, below one prefix, by obstore: each has its effect once, or says why not.

obstore's own retries are off: a conditional put that has landed looks like a rival's when it is made again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import S3Store

from kvserver.errors import MediumError, NotReady, Unknown

if TYPE_CHECKING:
    from obstore import WritableFile
    from obstore.store import S3Config

# Deadlines of one call: of those with some MB at most, and of those that move snapshots.
SMALL_TIMEOUT: Final = "4s"
LARGE_TIMEOUT: Final = "120s"
CONNECT_TIMEOUT: Final = "2s"
# A part of a snapshot on its way: S3 takes 10,000 parts, so 80 GB.
PART_BYTES: Final = 8 << 20
PARTS_IN_FLIGHT: Final = 4

_OPTIONS: Final = ("endpoint", "region")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_PREFIX = re.compile(r"[^\x00-\x1f\x7f\\]*")
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<\n]{1,200})")
# Statuses behind which something may have been written, or be written later.
_OPEN_STATUSES: Final = {408, 429}
_CREDENTIALS_OF_MACHINE: Final = "169.254.169.254"
_ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


class Found(NamedTuple):
    """An object: its bytes, its metadata, and the ETag of its content."""

    data: bytes
    metadata: dict[str, str]
    tag: str


class Listed(NamedTuple):
    """An object in a list: its path below the prefix, and when it was written by the store's clock."""

    path: str
    time: datetime


class Taken(NamedTuple):
    """A conditional put that was not done. `is_conflict`: another one was under way, so nobody knows what will stand there."""

    is_conflict: bool


class Bucket:
    """The bucket and prefix of a URL: s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=us-east-1.

    What the URL does not say, and who logs in, comes from the environment (AWS_ACCESS_KEY_ID and so on). MediumError, in one
    line, for a URL that means nothing. Nothing is sent yet. `is_ordered`: what it lists comes in order.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.bucket, self.prefix = parts.netloc, unquote(parts.path).strip("/")
        # S3 Express has names of its own for its buckets, and lists what is in them in no order.
        self.is_ordered = not self.bucket.endswith("--x-s3")
        if not _BUCKET.fullmatch(self.bucket):
            # It may have a secret in it.
            raise MediumError("s3://BUCKET/PREFIX is asked for: what stands behind s3:// is no name of a bucket")
        if not _PREFIX.fullmatch(self.prefix) or {"", ".", ".."} & set(self.prefix.split("/") if self.prefix else ()):
            raise MediumError(f"s3://{self.bucket}/…: there is an empty part, . or .., or a strange character in the prefix")
        options = _options_in(parts.query, self.bucket)
        self.url = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        self._endpoint = options.get("endpoint") or next(filter(None, map(os.environ.get, _ENDPOINT_VARIABLES)), "")
        if self._endpoint:
            _check_endpoint(self._endpoint, self.bucket)
        self._region = options.get("region", "")
        self._small = self._store(SMALL_TIMEOUT)
        self._large = self._store(LARGE_TIMEOUT)

    def _store(self, timeout: str) -> S3Store:
        config: S3Config = {}
        if self._endpoint:
            config["endpoint"] = self._endpoint
        if self._region:
            config["region"] = self._region
        try:
            return S3Store(
                self.bucket,
                prefix=self.prefix or None,
                client_options={
                    "allow_http": self._endpoint.startswith("http://"),
                    "connect_timeout": CONNECT_TIMEOUT,
                    "timeout": timeout,
                },
                retry_config={"max_retries": 0},
                config=config,
            )
        except Exception as error:
            raise MediumError(self._line(error)) from error

    def create(self, path: str, data: bytes, metadata: dict[str, str] | None = None) -> str | Taken:
        """Put an object where there is none. Its tag, or that it was not done. MediumError, and Unknown."""
        with self.changing():
            try:
                result = obstore.put(
                    self._small, path, data, mode="create", attributes=dict(metadata or {}), use_multipart=False
                )
            except (AlreadyExistsError, PreconditionError) as error:
                return Taken(is_conflict=_status_of(error) == 409)
            return result["e_tag"] or ""

    def replace(self, path: str, data: bytes, tag: str) -> str | Taken:
        """Put an object in the place of the one with this tag. Returns and raises as `create`."""
        with self.changing():
            try:
                result = obstore.put(self._small, path, data, mode={"e_tag": tag}, use_multipart=False)
            except (AlreadyExistsError, PreconditionError, FileNotFoundError) as error:
                if _status_of(error) == 404 and not _is_of_object(error):
                    raise
                return Taken(is_conflict=_status_of(error) == 409)
            return result["e_tag"] or ""

    def put(self, path: str, data: bytes) -> None:
        """Put an object, whether there is one or not. MediumError, also Unknown."""
        with self.changing():
            obstore.put(self._small, path, data, use_multipart=False)

    def get(self, path: str) -> Found | None:
        """An object, or None if there is none. MediumError."""
        with self._reading():
            try:
                result = obstore.get(self._small, path)
                data = bytes(result.bytes())
            except FileNotFoundError as error:
                if not _is_of_object(error):
                    raise
                return None
            return Found(data, _metadata(result.attributes), result.meta["e_tag"] or "")

    def look(self, path: str) -> dict[str, str] | None:
        """The metadata of an object, or None if there is none. MediumError."""
        with self._reading():
            try:
                return _metadata(obstore.get(self._small, path, options={"head": True}).attributes)
            except FileNotFoundError:
                return None

    def read(self, path: str, offset: int, length: int) -> bytes | None:
        """Some bytes of a large object, fewer only at its end; None if there is no such object. MediumError."""
        if length == 0:
            return b""
        with self._reading():
            try:
                return bytes(obstore.get_range(self._large, path, start=offset, length=length))
            except FileNotFoundError as error:
                if not _is_of_object(error):
                    raise
                return None
            except Exception as error:
                # The range begins at the end of the object, or behind it.
                if _status_of(error) == 416:
                    return b""
                raise

    def list(self, folder: str) -> Iterator[Listed]:
        """The objects whose paths begin with a folder, in order of their paths if the bucket `is_ordered`. MediumError."""
        with self._reading():
            for batch in obstore.list(self._small, folder):
                for found in batch:
                    yield Listed(found["path"], found["last_modified"])

    def delete(self, paths: Iterable[str]) -> None:
        """Remove objects, whether they are there or not. MediumError, also Unknown."""
        if names := list(paths):
            with self.changing():
                obstore.delete(self._large, names)

    def write(self, path: str) -> LargeObject:
        """Begin an object that comes in pieces."""
        with self.changing():
            writer = obstore.open_writer(
                self._large,
                path,
                attributes={"Content-Type": "application/json"},
                buffer_size=PART_BYTES,
                max_concurrency=PARTS_IN_FLIGHT,
            )
        return LargeObject(self, writer)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Let what obstore raises become Unknown, or a MediumError if nothing was done and nothing will be."""
        try:
            yield
        except MediumError:
            raise
        except Exception as error:
            status = _status_of(error)
            # A connection that did not come about has taken no request to the store.
            if (400 <= status < 500 and status not in _OPEN_STATUSES) or "kind: Connect," in str(error):
                raise MediumError(self._line(error)) from error
            raise Unknown(self._line(error)) from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except MediumError:
            raise
        except Exception as error:
            is_away = "kind: Connect," in str(error) or "kind: Timeout," in str(error)
            raise (NotReady if is_away else MediumError)(self._line(error)) from error

    def _line(self, error: Exception) -> str:
        """One line of what obstore raised, which has many."""
        text, status, code = str(error), _status_of(error), _code_of(error)
        message = _MESSAGE.search(text)
        at = f" at {self._endpoint}" if self._endpoint else ""
        if _CREDENTIALS_OF_MACHINE in text:
            # Where the environment names nobody, obstore asks the machine that it may be in.
            reason = "who logs in is not known: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        elif code == "NoSuchBucket":
            reason = f"there is no bucket {self.bucket}{at}"
        elif status in (401, 403) or code in ("InvalidAccessKeyId", "SignatureDoesNotMatch"):
            told = f" ({code}: {message[1]})" if message else ""
            reason = f"the store{at} does not let us in, or do that{told}"
        elif "kind: Connect," in text:
            reason = f"no connection to the store{at}"
        elif "kind: Timeout," in text:
            reason = f"the store{at} did not answer in time"
        elif status:
            reason = f"the store{at} answers {status}{f' {code}' if code else ''}{f': {message[1]}' if message else ''}"
        elif "HTTP error:" in text:
            reason = f"the connection to the store{at} broke"
        else:
            reason = text.partition("\n")[0][:300]
        return f"{self.url}: {reason}"


class LargeObject:
    """An object that comes in pieces, by a multipart upload: nobody sees it before `close` has returned."""

    def __init__(self, bucket: Bucket, writer: WritableFile) -> None:
        self._bucket, self._writer = bucket, writer

    def write(self, data: bytes) -> None:
        if data:
            with self._bucket.changing():
                self._writer.write(data)

    def close(self) -> None:
        with self._bucket.changing():
            self._writer.close()


def _options_in(query: str, bucket: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if wrong := sorted(options.keys() - set(_OPTIONS)):
        raise MediumError(f"s3://{bucket}/…: there is no {wrong[0]}=, but endpoint= and region=")
    if "endpoint" in options:
        _check_endpoint(options["endpoint"], bucket)
    if "region" in options and not re.fullmatch(r"[A-Za-z0-9-]+", options["region"]):
        raise MediumError(f"s3://{bucket}/…: region= is no name of a region")
    return options


def _check_endpoint(text: str, bucket: str) -> None:
    """Check that an endpoint is a URL: what obstore makes of another text ends in a panic. MediumError."""
    try:
        endpoint = urlsplit(text)
        is_url = endpoint.scheme in ("http", "https") and bool(endpoint.hostname) and endpoint.port != 0
    except ValueError:
        is_url = False
    if not is_url or not re.fullmatch(r"[!-~]+", text) or "@" in endpoint.netloc or endpoint.query:
        raise MediumError(f"s3://{bucket}/…: the endpoint is no URL such as https://host:9000")


def _metadata(attributes: object) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in dict(attributes).items()}  # type: ignore[call-overload]


def _status_of(error: Exception) -> int:
    match = _STATUS.search(str(error))
    return int(match[1]) if match else 0


def _code_of(error: Exception) -> str:
    match = _CODE.search(str(error))
    return match[1] if match else ""


def _is_of_object(error: Exception) -> bool:
    """True for a 404 that tells of an object. There may be no bucket; and one without a code is no store's, but a proxy's."""
    return _code_of(error) not in ("", "NoSuchBucket")
