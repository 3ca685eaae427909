"""An engine in an object store that speaks S3: `s3://bucket/prefix?endpoint=URL&region=NAME`. Its snapshots may be used alone.

    log/…                     the log (`s3_log`)
    snapshots/snapshot-….json the snapshots, plain JSON: `aws s3 cp s3://bucket/prefix/snapshots/… -` shows them
    manifest.json             which of them count
    nodes/….json              who is there
    probe/…                   for a moment, at each opening (`s3_probe`)

A multipart upload that was torn is seen by nobody, but paid for: a rule of the bucket should end those after a day.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Collection
from contextlib import suppress
from datetime import timedelta
from typing import Final

from kvserver.errors import ManifestInvalid, MediumError, Refused
from kvserver.formats.manifest import Manifest, decode_manifest
from kvserver.media.s3_bucket import Bucket, LargeObject, Taken
from kvserver.media.s3_log import S3Log
from kvserver.media.s3_probe import ROUNDS, probe
from kvserver.media.shared import ABANDONED_S, Engine, Node, Vault, decode_node, manifest_bytes

LEASE_S: Final = 10.0
BEAT_S: Final = 2.5
# A node whose word is so much older than the newest one is not there.
GONE: Final = timedelta(seconds=15)
FORGOTTEN: Final = timedelta(hours=1)
PROMISES: Final = (
    "an acknowledged write survives all that the object store survives: it was there before it was acknowledged",
    "each append is a PUT: 10 a second, by appendfsync always, are about 26 million a month; everysec makes 2.6 million",
    "with no writes it is 0.8 million PUTs a month; each node makes 1 million PUTs and LISTs, a standby 10 million GETs",
)

_MANIFEST: Final = "manifest.json"
_NAME = re.compile(r"snapshot-[0-9a-f]{32}\.json")
_NODE = re.compile(r"[0-9A-Za-z_-]{1,64}")


def open_s3(url: str, vault: Vault | None = None, rounds: int = ROUNDS) -> Engine:
    """Open the engine at this URL, with its snapshots in another vault if one is given. MediumError, in one line.

    It is probed first (`s3_probe`), with so many races; with none, nothing is written there.
    """
    bucket = Bucket(url)
    if not bucket.is_ordered:
        raise MediumError(f"{bucket.url}: S3 Express lists objects in no order: it may have snapshots, but no log")
    # A wrong bucket or credential is told in its own words.
    bucket.get(_MANIFEST)
    if rounds:
        probe(bucket, Bucket(url), rounds)
    name = bucket.prefix.rpartition("/")[2] or bucket.bucket
    return Engine(bucket.url, name, S3Log(bucket), vault or S3Vault(bucket), S3Presence(bucket), LEASE_S, BEAT_S, PROMISES)


def open_s3_vault(url: str) -> S3Vault:
    """Open the vault at this URL alone. MediumError, in one line, for a URL that means nothing: the store is not asked yet.

    It is probed before the first manifest is replaced: who only reads may not be allowed to write there.
    """
    return S3Vault(Bucket(url), Bucket(url))


class _S3Object:
    """A snapshot on its way."""

    def __init__(self, bucket: Bucket) -> None:
        self.name = f"snapshot-{secrets.token_hex(16)}.json"
        self._bucket = bucket
        self._path = _path_of(self.name)
        self._object: LargeObject | None = bucket.write(self._path)
        self._may_be_there = False

    def write(self, data: bytes) -> None:
        self._open().write(data)

    def commit(self) -> None:
        self._may_be_there = True
        self._open().close()
        self._object = None
        self._may_be_there = False

    def abort(self) -> None:
        # Unless it was closed, nobody ever sees it.
        self._object = None
        if self._may_be_there:
            with suppress(MediumError):
                self._bucket.delete([self._path])
            self._may_be_there = False

    def _open(self) -> LargeObject:
        if self._object is None:
            raise MediumError(f"{self._bucket.url}/{self._path} was given up")
        return self._object


class S3Vault:
    """Snapshots, and the manifest, in a bucket. A tag is the manifest's ETag.

    If a second client is given, the store is probed with it before the first manifest is replaced.
    """

    def __init__(self, bucket: Bucket, prober: Bucket | None = None) -> None:
        self._bucket = bucket
        self._prober = prober

    def begin(self) -> _S3Object:
        return _S3Object(self._bucket)

    def manifest(self) -> tuple[Manifest | None, str]:
        found = self._bucket.get(_MANIFEST)
        if found is None:
            return None, ""
        try:
            return decode_manifest(found.data), found.tag
        except ManifestInvalid as error:
            raise MediumError(f"{self._bucket.url}/{_MANIFEST} is no manifest: {error}") from error

    def probe(self) -> None:
        """Look if the store does what conditions ask for, unless that was looked at. MediumError if it does not."""
        if self._prober:
            probe(self._bucket, self._prober)
            self._prober = None

    def commit(self, manifest: Manifest, tag: str) -> str:
        self.probe()
        # An ETag is a digest of the bytes.
        data = manifest_bytes(manifest, secrets.token_hex(8))
        replaced = self._bucket.replace(_MANIFEST, data, tag) if tag else self._bucket.create(_MANIFEST, data)
        if not isinstance(replaced, Taken):
            return replaced
        if replaced.is_conflict:
            raise MediumError(f"{self._bucket.url}/{_MANIFEST}: another request was under way, and nothing was written")
        raise Refused(f"somebody else has replaced {self._bucket.url}/{_MANIFEST}")

    def read(self, name: str, offset: int, length: int) -> bytes:
        if not _NAME.fullmatch(name):
            raise MediumError(f"{name!r} is no name of a snapshot in {self._bucket.url}")
        data = self._bucket.read(_path_of(name), offset, length)
        if data is None:
            raise MediumError(f"there is no {self._bucket.url}/{_path_of(name)}")
        return data

    def remove(self, names: list[str]) -> None:
        self._bucket.delete(_path_of(name) for name in names if _NAME.fullmatch(name))

    def sweep(self, named: Collection[str]) -> None:
        paths = {_path_of(name) for name in named}
        listed = list(self._bucket.list("snapshots"))
        # By the store's clock, which tells of the newest snapshot.
        newest = max((found.time for found in listed), default=None)
        self._bucket.delete(
            found.path
            for found in listed
            if newest
            and newest - found.time > timedelta(seconds=ABANDONED_S)
            and found.path not in paths
            and _NAME.fullmatch(found.path.removeprefix("snapshots/"))
        )

    def close(self) -> None:
        """Do nothing: connections go with their client."""


class S3Presence:
    """The nodes, each by an object of its own. Its age is told by the store's clock, which is the same for all."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def tell(self, node: Node) -> None:
        self._bucket.put(self._path(node.id), json.dumps(node._asdict(), sort_keys=True).encode() + b"\n")

    def nodes(self) -> list[Node]:
        listed = list(self._bucket.list("nodes"))
        newest = max((found.time for found in listed), default=None)
        nodes: list[Node] = []
        forgotten: list[str] = []
        for found in listed:
            if newest and newest - found.time > FORGOTTEN:
                forgotten.append(found.path)
            elif newest and newest - found.time <= GONE and (object_ := self._bucket.get(found.path)):
                node = decode_node(object_.data)
                nodes += [node] if node else []
        self._bucket.delete(forgotten)
        return nodes

    def leave(self, node_id: str) -> None:
        self._bucket.delete([self._path(node_id)])

    def close(self) -> None:
        """Do nothing: connections go with their client."""

    def _path(self, node_id: str) -> str:
        if not _NODE.fullmatch(node_id):
            raise MediumError(f"{node_id!r} can't be a node's name")
        return f"nodes/{node_id}.json"


def _path_of(name: str) -> str:
    return f"snapshots/{name}"
