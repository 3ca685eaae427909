"""A vault in NATS JetStream: snapshots in an object store, and the manifest in a key-value bucket, by compare and swap.

Both are laid out as NATS' own tools have them: `nats object get` fetches a snapshot, and `nats kv get` shows the manifest. The
chunks are read by direct gets, several at once, where the client library reads them one by one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections import deque
from typing import Any, Final, NamedTuple

from kvserver.errors import MediumError, Refused, Unknown
from kvserver.formats.manifest import MOST_BYTES, Manifest, decode_manifest
from kvserver.media.nats_calls import ANSWER_S, Waiting, ends_batch, must_be_done, parsed
from kvserver.media.nats_client import NatsClient
from kvserver.media.nats_log import HEADERS_BYTES, refusal
from kvserver.media.shared import manifest_bytes

MANIFEST_KEY: Final = "manifest"
EXPECTED_LAST_OF_SUBJECT: Final = "Nats-Expected-Last-Subject-Sequence"
ROLLUP: Final = {"Nats-Rollup": "sub"}
# There is no such message; and another one with the same condition is on its way, and may arrive or not.
NO_MESSAGE: Final = 10037
ANOTHER_IN_FLIGHT: Final = 10164
PAUSE_S: Final = 0.01

CHUNK_BYTES: Final = 512 << 10
# So many chunks are on their way at once, when an object is written, and when it is read: on a slow line all else stands
# behind them.
CHUNKS_AT_ONCE: Final = 2
CHUNK_S: Final = 10.0
# A purge rewrites files.
PURGE_S: Final = 10.0
# Chunks without an object are those of a writer that was killed, if they are as old as this.
ABANDONED_S: Final = 24 * 3600


class _Object(NamedTuple):
    """An object that is whole: its size, that of a chunk, and where they stand in the stream, as (first sequence, count)."""

    size: int
    chunk_bytes: int
    runs: tuple[tuple[int, int], ...]

    def sequence_of(self, index: int) -> int:
        """The sequence of the chunk with this index."""
        for first, count in self.runs:
            if index < count:
                return first + index
            index -= count
        raise MediumError("a snapshot in NATS has fewer chunks than its size says")


class NatsVault:
    """Objects in the bucket `objects`, and the manifest in the bucket `values`."""

    def __init__(self, client: NatsClient, objects: str, values: str) -> None:
        self._client = client
        self._bucket = objects
        self._stream = f"OBJ_{objects}"
        self._manifest_stream = f"KV_{values}"
        self._manifest_subject = f"$KV.{values}.{MANIFEST_KEY}"
        self._known: dict[str, _Object] = {}

    def begin(self) -> NatsObject:
        return NatsObject(self._client, self._bucket, min(CHUNK_BYTES, self._most))

    @property
    def _most(self) -> int:
        """The longest data of a message, by the settings of the server that is connected now."""
        return max(self._client.max_payload - HEADERS_BYTES, 1)

    def manifest(self) -> tuple[Manifest | None, str]:
        found = self._last(self._manifest_stream, self._manifest_subject)
        if found is None:
            return None, ""
        try:
            return decode_manifest(base64.b64decode(found.get("data", ""))), str(found["seq"])
        except ValueError as error:
            raise MediumError(f"the manifest in {self._manifest_stream} of NATS is none: {error}") from None

    def commit(self, manifest: Manifest, tag: str) -> str:
        data = manifest_bytes(manifest)
        most = min(MOST_BYTES, self._most)
        if len(data) > most:
            raise MediumError(f"a manifest of {len(data)} bytes is longer than {most}")
        expected = int(tag or 0)
        answer = parsed(
            self._client.request(self._manifest_subject, data, {EXPECTED_LAST_OF_SUBJECT: str(expected)}, ANSWER_S)
        )
        if "error" in answer:
            if answer["error"].get("err_code") == ANOTHER_IN_FLIGHT:
                self._see_another(expected)
            raise refusal(answer["error"], expected)
        return str(answer["seq"])

    def _see_another(self, expected: int) -> None:
        """Look if the manifest that is on its way comes: Refused. MediumError if none comes: ours was not taken, even so."""
        deadline = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline:
            found = self._last(self._manifest_stream, self._manifest_subject)
            if found is not None and found["seq"] > expected:
                raise Refused(f"somebody else has replaced the manifest {expected}")
            time.sleep(PAUSE_S)
        raise MediumError("another manifest is on its way to NATS")

    def read(self, name: str, offset: int, length: int) -> bytes:
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = self._find(name)
        end = min(offset + length, found.size)
        if offset >= end:
            return b""
        first, last = offset // found.chunk_bytes, (end - 1) // found.chunk_bytes
        pieces: list[bytes] = []
        while len(pieces) <= last - first:
            pieces += self._chunks(name, found, first + len(pieces), last - first + 1 - len(pieces))
        start = offset - first * found.chunk_bytes
        return b"".join(pieces)[start : start + end - offset]

    def remove(self, names: list[str]) -> None:
        for name in names:
            self._known.pop(name, None)
            # First what makes it an object: nobody finds one that lacks chunks.
            self._purge(_information_subject(self._bucket, name))
            self._purge(_chunks_subject(self._bucket, name))
        self._sweep()

    def close(self) -> None:
        """Do nothing: the connection is the log's."""

    def _sweep(self) -> None:
        """Remove the chunks that a writer has left which was killed long ago."""
        answer = self._client.ask(f"$JS.API.STREAM.INFO.{self._stream}", {"subjects_filter": f"$O.{self._bucket}.>"}, PURGE_S)
        must_be_done(answer)
        subjects = answer["state"].get("subjects") or {}
        before = _name_at(time.time() - ABANDONED_S)
        for subject in subjects:
            name = subject.removeprefix(_chunks_subject(self._bucket, ""))
            if name != subject and name < before and _information_subject(self._bucket, name) not in subjects:
                self._purge(subject)

    def _purge(self, subject: str) -> None:
        must_be_done(self._client.ask(f"$JS.API.STREAM.PURGE.{self._stream}", {"filter": subject}, PURGE_S))

    def _last(self, stream: str, subject: str) -> dict[str, Any] | None:
        """The last message of a subject, as the stream's leader has it, or None if there is none."""
        answer = self._client.ask(f"$JS.API.STREAM.MSG.GET.{stream}", {"last_by_subj": subject}, ANSWER_S)
        if answer.get("error", {}).get("err_code") == NO_MESSAGE:
            return None
        must_be_done(answer)
        found: dict[str, Any] = answer["message"]
        return found

    def _find(self, name: str) -> _Object:
        found = self._last(self._stream, _information_subject(self._bucket, name))
        try:
            information: Any = json.loads(base64.b64decode(found["data"])) if found else {"deleted": True}
            if information.get("deleted"):
                raise MediumError(f"there is no snapshot {name} in NATS")
            runs = json.loads(information["metadata"]["runs"])
            return _Object(
                int(information["size"]),
                int(information["options"]["max_chunk_size"]),
                tuple((int(first), int(count)) for first, count in runs),
            )
        except (KeyError, TypeError, ValueError):
            raise MediumError(f"what NATS has as the snapshot {name} was not written by kvserver") from None

    def _chunks(self, name: str, found: _Object, index: int, count: int) -> list[bytes]:
        """Chunks from this one on: one at least, and as many as are asked for at most."""
        request = {
            "seq": found.sequence_of(index),
            "next_by_subj": _chunks_subject(self._bucket, name),
            "batch": min(count, CHUNKS_AT_ONCE),
        }
        waiting = self._client.ask_for_many(f"$JS.API.DIRECT.GET.{self._stream}", request, ends_batch)
        *messages, _ = self._client.collect(waiting, CHUNK_S)
        chunks: list[bytes] = []
        for message in messages:
            if int((message.headers or {})["Nats-Sequence"]) != found.sequence_of(index + len(chunks)):
                break
            chunks.append(message.data)
        # Who has answered may lag behind the leader.
        chunks = chunks or [self._chunk_of_leader(name, found, index)]
        for place, chunk in enumerate(chunks, index):
            if len(chunk) != min(found.chunk_bytes, found.size - place * found.chunk_bytes):
                raise MediumError(f"the chunk {place} of the snapshot {name} in NATS has {len(chunk)} bytes")
        return chunks

    def _chunk_of_leader(self, name: str, found: _Object, index: int) -> bytes:
        body = {"seq": found.sequence_of(index)}
        answer = self._client.ask(f"$JS.API.STREAM.MSG.GET.{self._stream}", body, CHUNK_S)
        if "error" in answer:
            raise MediumError(f"the chunk {index} of the snapshot {name} in NATS is not there")
        return base64.b64decode(answer["message"].get("data", ""))


class NatsObject:
    """An object on its way: its chunks are there, but not the word that makes an object of them."""

    def __init__(self, client: NatsClient, bucket: str, chunk_bytes: int) -> None:
        self.name = f"{_name_at(time.time())}-{secrets.token_hex(8)}"
        self._client = client
        self._bucket = bucket
        self._chunk_bytes = chunk_bytes
        self._waiting: deque[Waiting] = deque()
        self._buffer = bytearray()
        self._digest = hashlib.sha256()
        self._size = self._chunks = 0
        self._runs: list[list[int]] = []
        self._is_whole = False

    def write(self, data: bytes) -> None:
        self._digest.update(data)
        self._size += len(data)
        self._buffer += data
        while len(self._buffer) >= self._chunk_bytes:
            self._send(bytes(self._buffer[: self._chunk_bytes]))
            del self._buffer[: self._chunk_bytes]

    def commit(self) -> None:
        if self._buffer:
            self._send(bytes(self._buffer))
        while self._waiting:
            self._take_answer()
        information = {
            "name": self.name,
            "metadata": {"runs": json.dumps(self._runs)},
            "options": {"max_chunk_size": self._chunk_bytes},
            "bucket": self._bucket,
            "nuid": self.name,
            "size": self._size,
            "mtime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "chunks": self._chunks,
            "digest": f"SHA-256={base64.urlsafe_b64encode(self._digest.digest()).decode()}",
        }
        subject = _information_subject(self._bucket, self.name)
        answer = parsed(self._client.request(subject, json.dumps(information).encode(), ROLLUP, CHUNK_S))
        if "error" in answer:
            raise Unknown(f"NATS refuses a snapshot: {answer['error'].get('description')}")
        self._is_whole = True

    def abort(self) -> None:
        if self._is_whole:
            return
        self._buffer.clear()
        for waiting in self._waiting:
            self._client.forget(waiting)
        for subject in (_information_subject(self._bucket, self.name), _chunks_subject(self._bucket, self.name)):
            try:
                self._client.ask(f"$JS.API.STREAM.PURGE.OBJ_{self._bucket}", {"filter": subject}, PURGE_S)
            except MediumError:
                # The chunks are swept when they are old.
                return

    def _send(self, chunk: bytes) -> None:
        if len(self._waiting) >= CHUNKS_AT_ONCE:
            self._take_answer()
        self._waiting.append(self._client.send(_chunks_subject(self._bucket, self.name), chunk, None))
        self._chunks += 1

    def _take_answer(self) -> None:
        answer = parsed(self._client.wait(self._waiting.popleft(), CHUNK_S)[0])
        must_be_done(answer)
        sequence = int(answer["seq"])
        last = self._runs[-1] if self._runs else [0, 0]
        if sequence < sum(last):
            raise MediumError("NATS has stored the chunks of a snapshot in another order than they were sent in")
        if self._runs and sequence == sum(last):
            last[1] += 1
        else:
            self._runs.append([sequence, 1])


def _name_at(seconds: float) -> str:
    """The beginning of the name of an object that was begun at this time: names grow with time."""
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))


def _chunks_subject(bucket: str, name: str) -> str:
    return f"$O.{bucket}.C.{name}"


def _information_subject(bucket: str, name: str) -> str:
    return f"$O.{bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"
