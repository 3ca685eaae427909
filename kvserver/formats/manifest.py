"""The manifest: what a vault keeps beside the snapshots themselves, as small JSON that a person can read.

    {"counter":7,"epoch":2,"frames":[{"digest":"…","length":1234,"name":"…"}],"lease_ms":3000,"linked":"…",
     "mark":{"digest":"…","number":99},"owner":"","position":{"epoch":2,"number":41},"version":1}

The snapshots of a vault are plain JSON, the payload of a KVS1 frame each: LEN and SHA-256, which the frame has in its header,
stand here. Pure: nothing is read or written.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

from kvserver.errors import ManifestInvalid
from kvserver.formats.frame import DIGEST_HEX, HEADER_SIZE, MAX_PAYLOAD_BYTES, encode_header
from kvserver.formats.record import EMPTY_STORE

VERSION: Final = 1
# No manifest is as long as this: a name and a header take 200 bytes, and a vault keeps some of them.
MOST_BYTES: Final = 1 << 20
# A vault keeps so many snapshots at most, whatever is asked for: twice as many are named in less than 64 KiB, which is the
# least that an engine takes at once.
MOST_FRAMES: Final = 100

_DIGEST = re.compile(rf"[0-9a-f]{{{DIGEST_HEX}}}")


class Position(NamedTuple):
    """A place in a shared log: that of an entry, or BEGINNING. Positions grow as the log does.

    `epoch` is that of the writer (0: there was none yet), and `number` what the engine counts.
    """

    epoch: int
    number: int


BEGINNING: Final = Position(0, 0)


class StoredFrame(NamedTuple):
    """A snapshot in a vault: the object with its payload, and what the header of its frame says."""

    name: str
    length: int
    digest: str

    @property
    def header(self) -> bytes:
        """The HEADER_SIZE bytes that stand before the payload in a file."""
        return encode_header(self.length, self.digest)

    @property
    def frame_length(self) -> int:
        """The length of the whole frame in bytes."""
        return HEADER_SIZE + self.length


class Manifest(NamedTuple):
    """The state of a vault.

    - `counter` grows with each manifest, so that no two have the same bytes.
    - `epoch` is that of its writer, and `lease_ms` that writer's lease in milliseconds; 0 where there is none.
    - `linked` is the digest of the snapshot that has all entries of the log up to `position`, or EMPTY_STORE.
    - `mark_number` and `mark_digest` are those of the entry at `position` (`media.shared.Mark`); 0 and "" at the beginning.
    - `frames` are the snapshots that are kept, the oldest first.
    - `owner` names the one server whose backups these are; it is empty where the epochs of a log say who writes.
    """

    counter: int = 0
    epoch: int = 0
    position: Position = BEGINNING
    mark_number: int = 0
    mark_digest: str = ""
    linked: str = EMPTY_STORE
    frames: tuple[StoredFrame, ...] = ()
    owner: str = ""
    lease_ms: int = 0


def encode_manifest(manifest: Manifest, nonce: str = "") -> bytes:
    """The JSON of a manifest, with a line break at its end. ManifestInvalid if nobody could read it again.

    `nonce`, which no reader looks at, is for vaults whose tags are digests of the bytes: no two have the same, then.
    """
    document: dict[str, object] = {
        "counter": manifest.counter,
        "epoch": manifest.epoch,
        "frames": [frame._asdict() for frame in manifest.frames],
        "lease_ms": manifest.lease_ms,
        "linked": manifest.linked,
        "mark": {"digest": manifest.mark_digest, "number": manifest.mark_number},
        "owner": manifest.owner,
        "position": manifest.position._asdict(),
        "version": VERSION,
    }
    if nonce:
        document["nonce"] = nonce
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    # Where such a manifest stood, no node could start any more.
    decode_manifest(data)
    return data


def decode_manifest(data: bytes) -> Manifest:
    """The manifest in these bytes. ManifestInvalid, in one line, for what is none, or contradicts itself."""
    if len(data) > MOST_BYTES:
        raise ManifestInvalid(f"it has {len(data)} bytes")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(f"it is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise ManifestInvalid("it is no JSON object")
    if document.get("version") != VERSION:
        raise ManifestInvalid(f"its version is {document.get('version')!r}, and this program knows {VERSION}")
    mark, position = _object(document, "mark"), _object(document, "position")
    manifest = Manifest(
        counter=_count(document, "counter"),
        epoch=_count(document, "epoch"),
        position=Position(_count(position, "epoch"), _count(position, "number")),
        mark_number=_count(mark, "number"),
        mark_digest=_text(mark, "digest"),
        linked=_text(document, "linked"),
        frames=tuple(_frame(found) for found in _list(document, "frames")),
        owner=_text(document, "owner"),
        lease_ms=_count(document, "lease_ms"),
    )
    if manifest.linked != EMPTY_STORE and manifest.linked not in {frame.digest for frame in manifest.frames}:
        raise ManifestInvalid(f"it goes on from the snapshot {manifest.linked[:16]}…, which is not among its frames")
    return manifest


def _frame(document: object) -> StoredFrame:
    if not isinstance(document, dict):
        raise ManifestInvalid("a frame is no object")
    frame = StoredFrame(_text(document, "name"), _count(document, "length"), _text(document, "digest"))
    if not _DIGEST.fullmatch(frame.digest) or frame.length > MAX_PAYLOAD_BYTES or not frame.name:
        raise ManifestInvalid(f"the frame {frame.name!r} has no valid header")
    return frame


def _object(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    if not isinstance(value, dict):
        raise ManifestInvalid(f"{name} is no object")
    return value


def _list(document: dict[str, Any], name: str) -> list[Any]:
    value = document.get(name)
    if not isinstance(value, list):
        raise ManifestInvalid(f"{name} is no list")
    return value


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise ManifestInvalid(f"{name} is no text")
    return value


def _count(document: dict[str, Any], name: str) -> int:
    value = document.get(name)
    if type(value) is not int or value < 0:
        raise ManifestInvalid(f"{name} is no count")
    return value
