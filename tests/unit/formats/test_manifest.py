"""The manifest of a vault: its JSON there and back, and what is refused."""

from __future__ import annotations

import json

import pytest

from kvserver.errors import ManifestInvalid
from kvserver.formats.manifest import (
    MOST_BYTES,
    MOST_FRAMES,
    Manifest,
    Position,
    StoredFrame,
    decode_manifest,
    encode_manifest,
)

FRAME = StoredFrame("snapshot-1", 12, "ab" * 32)
MANIFEST = Manifest(7, 2, Position(2, 41), 99, "cd" * 16, FRAME.digest, (FRAME,), "owner", 3000)


@pytest.mark.parametrize("manifest", [Manifest(), MANIFEST], ids=["empty", "full"])
def test_manifest_comes_back(manifest: Manifest) -> None:
    assert decode_manifest(encode_manifest(manifest)) == manifest


def test_nonce_makes_other_bytes_of_the_same_manifest() -> None:
    assert encode_manifest(MANIFEST, "ab") != encode_manifest(MANIFEST, "cd")
    assert decode_manifest(encode_manifest(MANIFEST, "ab")) == MANIFEST


def test_header_is_that_of_the_frame() -> None:
    assert FRAME.header == b"KVS1000000000012" + b"ab" * 32
    assert FRAME.frame_length == 92


def changed(path: str, value: object) -> bytes:
    document = json.loads(encode_manifest(MANIFEST))
    *way, last = path.split(".")
    place = document
    for name in way:
        place = place[int(name) if name.isdigit() else name]
    place[last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is no JSON"),
        (b"\xff", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "it is no JSON object"),
        (b"{}", "its version is None"),
        (b" " * (MOST_BYTES + 1), "it has"),
        (changed("version", 2), "its version is 2, and this program knows 1"),
        (changed("counter", -1), "counter is no count"),
        (changed("counter", True), "counter is no count"),
        (changed("position", []), "position is no object"),
        (changed("frames", {}), "frames is no list"),
        (changed("frames", [1]), "a frame is no object"),
        (changed("frames.0.digest", "AB" * 32), "has no valid header"),
        (changed("frames.0.length", 10**12), "has no valid header"),
        (changed("frames.0.name", ""), "has no valid header"),
        (changed("linked", "0" * 64), "which is not among its frames"),
        (changed("owner", None), "owner is no text"),
        (changed("lease_ms", "1"), "lease_ms is no count"),
    ],
    ids=[str(number) for number in range(18)],
)
def test_what_is_no_manifest_is_told_in_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(ManifestInvalid, match=r"^[^\n]*$") as raised:
        decode_manifest(data)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (MANIFEST._replace(owner="x" * MOST_BYTES), "it has"),
        (MANIFEST._replace(frames=()), "which is not among its frames"),
        (MANIFEST._replace(frames=(FRAME, FRAME._replace(digest="x"))), "has no valid header"),
        (MANIFEST._replace(counter=-1), "counter is no count"),
    ],
    ids=["long", "linked", "digest", "counter"],
)
def test_manifest_that_nobody_could_read_is_not_encoded(manifest: Manifest, reason: str) -> None:
    with pytest.raises(ManifestInvalid, match=reason):
        encode_manifest(manifest)


def test_twice_the_most_frames_are_named_in_less_than_any_engine_takes() -> None:
    frames = tuple(StoredFrame(f"snapshot-{number:032x}.json", 10**12 - 1, "ab" * 32) for number in range(2 * MOST_FRAMES))
    assert len(encode_manifest(Manifest(frames=frames))) < 63 << 10
