"""The scan of a medium: which frames are valid, what lies behind them, and that nothing else is ever loaded."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.documents import Place, exact, place_of
from helpers.servers import PROJECT
from kvserver.data.entries import Entry
from kvserver.errors import KVServerError
from kvserver.formats.frame import HEADER_SIZE, MAGIC, encode_frame
from kvserver.formats.scan import CHUNK_BYTES, Data, Scan, Tail
from kvserver.formats.scan import scan as scan_steps
from kvserver.formats.tags import Mapping
from kvserver.library.keeping import run
from kvserver.media.memory import MemoryMedium
from kvserver.persistence.workplace import Here, drive, finish
from kvserver.types import PLAIN, TAGGED

VECTORS = json.loads(PROJECT.joinpath("tests", "vectors").joinpath("media.json").read_text(encoding="utf-8"))

FIRST = encode_frame(b'{"a":"1","b":1.5}')
SECOND = encode_frame(b'{"a":"2"}')
THIRD = encode_frame(b"{}")
MEDIUM = FIRST + SECOND + THIRD
ENDS = [0, len(FIRST), len(FIRST + SECOND), len(MEDIUM)]


def scan(data: bytes, mapping: Mapping = PLAIN, load: bool = True) -> Scan:
    return run(MemoryMedium(data), mapping, load)


def members(data: Data | None) -> dict[Place, Entry] | None:
    if data is None:
        return None
    return {
        (number, key) if number else key: entry
        for number, shards in data.shards.items() for shard in shards for key, entry in shard.items()
    }  # fmt: skip


LOADED: list[Any] = [None, {b"a": b"1", b"b": b"1.5"}, {b"a": b"2"}, {}]


# --- The vectors ---


@pytest.mark.parametrize("mapping", [PLAIN, TAGGED], ids=["plain", "tagged"])
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vector_has_its_valid_frames_and_snapshot(vector: dict[str, Any], mapping: Mapping) -> None:
    data = base64.b64decode(vector["medium_base64"], validate=True)
    for load in (True, False):
        result = scan(data, mapping, load)
        assert len(result.frames) == vector["valid_frames"]
        assert result.valid_length == vector["valid_prefix_length"]
        assert result.tail_length == len(data) - vector["valid_prefix_length"]
        assert (result.tail is Tail.NONE) == (result.tail_length == 0) == (result.reason == "")
        assert (result.data is not None) == (load and vector["restored"])
    if vector["restored"]:
        expected = {place_of(mapping, name): mapping.decode_entry(value) for name, value in vector["snapshot"].items()}
        assert exact(members(scan(data, mapping).data)) == exact(expected)


@pytest.mark.parametrize(
    ("word", "tail"),
    [
        ("cut to", Tail.TORN),
        ("bit flipped", Tail.DAMAGED),
        ("garbage first", Tail.DAMAGED),
        ("payload is", Tail.DAMAGED),
        ("other magic", Tail.DAMAGED),
        ("length with", Tail.DAMAGED),
        ("upper-case", Tail.DAMAGED),
    ],
)
def test_vectors_that_crashes_explain_are_torn_and_the_others_damaged(word: str, tail: Tail) -> None:
    chosen = [vector for vector in VECTORS if word in vector["name"]]
    assert chosen
    for vector in chosen:
        assert scan(base64.b64decode(vector["medium_base64"])).tail is tail, vector["name"]


# --- Every frame, every truncation, every flipped bit ---


def test_frames_are_told_with_their_place_checksum_and_number_of_members() -> None:
    result = scan(MEDIUM)
    assert [(frame.offset, frame.end) for frame in result.frames] == list(itertools.pairwise(ENDS))
    assert [frame.member_count for frame in result.frames] == [2, 1, 0]
    assert [frame.payload_length for frame in result.frames] == [17, 9, 2]
    assert result.frames[2].digest == hashlib.sha256(b"{}").hexdigest()


def test_empty_medium_has_nothing() -> None:
    assert vars(scan(b"")) == vars(Scan(0))


def test_truncated_medium_is_torn_and_gives_the_frames_that_are_whole() -> None:
    for length in range(len(MEDIUM)):
        result = scan(MEDIUM[:length])
        whole = max(index for index, end in enumerate(ENDS) if end <= length)
        assert len(result.frames) == whole, f"cut to {length}"
        assert result.tail is (Tail.NONE if length in ENDS else Tail.TORN), f"cut to {length}"
        assert members(result.data) == LOADED[whole], f"cut to {length}"


def test_every_flipped_bit_is_damage_that_keeps_the_frames_before_it() -> None:
    """Never torn: a torn tail is cut without a copy, and here whole frames may stand behind the flipped bit."""
    torn = []
    for position in range(len(MEDIUM)):
        whole = max(index for index, end in enumerate(ENDS) if end <= position)
        for bit in range(8):
            data = bytearray(MEDIUM)
            data[position] ^= 1 << bit
            result = scan(bytes(data))
            assert len(result.frames) == whole
            assert members(result.data) == LOADED[whole]
            assert result.tail is not Tail.NONE
            if result.tail is Tail.TORN:
                torn.append((position, bit, result.reason))
    assert torn == []


@settings(max_examples=100)
@given(st.lists(st.sampled_from([FIRST, SECOND, THIRD, FIRST[:100], MAGIC, b"\0" * 80]) | st.binary(max_size=5), max_size=5))
def test_no_bytes_are_loaded_but_whole_frames_from_the_left(parts: list[bytes]) -> None:
    frames = [FIRST, SECOND, THIRD]
    valid: list[bytes] = []
    rest = b"".join(parts)
    while found := next((frame for frame in frames if rest.startswith(frame)), None):
        valid.append(found)
        rest = rest[len(found) :]
    result = scan(b"".join(parts))
    assert len(result.frames) == len(valid)
    assert members(result.data) == (LOADED[frames.index(valid[-1]) + 1] if valid else None)
    assert result.tail_length == len(rest)


# --- A value that holds a frame ---


@pytest.mark.parametrize("header_last", [False, True], ids=["as-written-in-one-piece", "header-still-zeros"])
def test_frame_inside_a_value_is_never_loaded_wherever_its_frame_is_torn(header_last: bool) -> None:
    planted = encode_frame(b'{"planted":1}').decode()
    outer = encode_frame(json.dumps({"a": "x", "k": planted + planted}, separators=(",", ":")).encode())
    if header_last:
        outer = bytes(HEADER_SIZE) + outer[HEADER_SIZE:]
    for length in range(len(outer)):
        result = scan(SECOND + outer[:length])
        assert members(result.data) == {b"a": b"2"}
        assert result.tail is (Tail.TORN if length else Tail.NONE)


def test_frame_inside_a_value_is_never_loaded_where_the_outer_frame_is_damaged() -> None:
    planted = encode_frame(b'{"planted":1}')
    outer = bytearray(encode_frame(b'{"k":"%b"}' % planted.replace(b'"', b'\\"')) + planted)
    outer[HEADER_SIZE] ^= 1
    result = scan(SECOND + bytes(outer) + SECOND)
    assert members(result.data) == {b"a": b"2"}
    assert result.tail is Tail.DAMAGED


# --- What lies behind the last valid frame ---


def altered(frame: bytes, start: int, new: bytes) -> bytes:
    return frame[:start] + new + frame[start + len(new) :]


@pytest.mark.parametrize(
    ("tail", "kind", "reason"),
    [
        (b"\0", Tail.TORN, "ends inside a frame's header"),
        (bytes(HEADER_SIZE - 1), Tail.TORN, "ends inside a frame's header"),
        (bytes(HEADER_SIZE), Tail.TORN, "never finished"),
        (bytes(HEADER_SIZE) + b'{"a":', Tail.TORN, "never finished"),
        (bytes(HEADER_SIZE) + b'{"a":1}', Tail.TORN, "never finished"),
        (FIRST[:79], Tail.TORN, "ends inside a frame's header"),
        (FIRST[:80], Tail.TORN, "after 0 of 17 payload bytes"),
        (FIRST[:-1], Tail.TORN, "after 16 of 17 payload bytes"),
        (FIRST[:-1] + b"!", Tail.DAMAGED, "checksum"),
        (b"KVS1+", Tail.DAMAGED, "begin no frame"),
        (b"KVJ1", Tail.DAMAGED, "begin no frame"),
        (b"\0\0x", Tail.DAMAGED, "begin no frame"),
        (b"x" * 200, Tail.DAMAGED, "begin no frame"),
        (altered(FIRST, 4, b"+00000000017"), Tail.DAMAGED, "malformed"),
        (altered(FIRST, 4, b"         17 "), Tail.DAMAGED, "malformed"),
        (altered(FIRST, 16, b"A"), Tail.DAMAGED, "malformed"),
        (altered(FIRST, 4, b"000000000018"), Tail.DAMAGED, "length field"),
        (altered(FIRST, 4, b"999999999999"), Tail.DAMAGED, "length field"),
        (altered(FIRST, 4, b"000000000016"), Tail.DAMAGED, "checksum"),
        (encode_frame(b""), Tail.DAMAGED, "not a JSON object"),
        (encode_frame(b"[1]"), Tail.DAMAGED, "not a JSON object"),
        (encode_frame(b"{} {}"), Tail.DAMAGED, "not a JSON object"),
        (encode_frame(b'{"a":1'), Tail.DAMAGED, "not"),
        (encode_frame(b'{"a":"\xff"}'), Tail.DAMAGED, "UTF-8"),
        (encode_frame(b'{"a":' + b"[" * 100_000), Tail.DAMAGED, "deeper"),
        (encode_frame(b'{"a":1' + b"0" * 5_000 + b"}"), Tail.DAMAGED, "longer numbers"),
    ],
    ids=lambda part: repr(part[:20]) if isinstance(part, bytes) else None,
)
def test_tail_is_told_apart_and_explained(tail: bytes, kind: Tail, reason: str) -> None:
    for before, loaded in ((b"", None), (SECOND, {b"a": b"2"})):
        result = scan(before + tail)
        assert result.tail is kind
        assert reason in result.reason
        assert result.valid_length == len(before)
        assert members(result.data) == loaded


def test_payload_of_many_chunks_is_read_and_checked_to_its_end() -> None:
    payload = b'{"a":"%b","b":"%b"}' % (b"x" * CHUNK_BYTES, b"y" * CHUNK_BYTES)
    frame = encode_frame(payload)
    assert members(scan(SECOND + frame).data) == {b"a": b"x" * CHUNK_BYTES, b"b": b"y" * CHUNK_BYTES}
    for position in (HEADER_SIZE + 10, len(frame) // 2, len(frame) - 3):
        result = scan(SECOND + altered(frame, position, b"!"))
        assert (result.tail, len(result.frames)) == (Tail.DAMAGED, 1)
        assert members(result.data) == {b"a": b"2"}


def test_checksum_is_what_is_told_of_a_damaged_payload_that_is_no_json_either() -> None:
    assert "checksum" in scan(altered(FIRST, HEADER_SIZE, b"[")).reason


# --- A medium that does not hold still ---


class ShrinkingMedium(MemoryMedium):
    """Loses its end after some reads."""

    def __init__(self, data: bytes, reads: int) -> None:
        super().__init__(data)
        self._reads_left = reads

    def read(self, offset: int, length: int) -> bytes:
        self._reads_left -= 1
        if self._reads_left < 0:
            self._data.clear()
        return super().read(offset, length)


@pytest.mark.parametrize("reads", range(8))
def test_medium_that_shrinks_while_it_is_read_gives_a_whole_frame_or_an_error_of_ours(reads: int) -> None:
    for data in (FIRST + SECOND, FIRST + SECOND[:-1]):
        try:
            result = run(ShrinkingMedium(data, reads), PLAIN, load=True)
        except KVServerError:
            continue
        assert members(result.data) == LOADED[len(result.frames)]


# --- A server's scan, which may step over a damaged frame ---


def server_scan(data: bytes, *links: str, digest: str = "") -> Scan:
    return finish(drive(scan_steps(len(data), TAGGED, digest=digest, links=links), MemoryMedium(data), Here()))


def digest_of(frame: bytes) -> str:
    return hashlib.sha256(frame[HEADER_SIZE:]).hexdigest()


DAMAGED_SECOND = altered(SECOND, len(SECOND) - 3, b"9")
TORN = bytes(HEADER_SIZE) + b'{"a":"to'


def test_damaged_frame_is_stepped_over_where_every_frame_behind_it_holds_to_the_last_byte() -> None:
    result = server_scan(FIRST + DAMAGED_SECOND + SECOND + THIRD)
    assert [frame.digest for frame in result.frames] == [digest_of(frame) for frame in (FIRST, SECOND, THIRD)]
    assert [damage[:2] for damage in result.damages] == [(ENDS[1], ENDS[2])]
    assert "checksum" in result.damages[0].reason
    assert (result.tail, result.reason, members(result.data)) == (Tail.NONE, "", {})


def test_damaged_first_frame_is_stepped_over_as_well() -> None:
    assert members(server_scan(DAMAGED_SECOND + FIRST).data) == LOADED[1]


def test_frame_that_holds_something_else_than_a_store_is_stepped_over_as_well() -> None:
    result = server_scan(encode_frame(b"[1]") + FIRST)
    assert members(result.data) == LOADED[1]
    assert "object" in result.damages[0].reason


@pytest.mark.parametrize("tail", [TORN, b"x", FIRST[:40], DAMAGED_SECOND], ids=["torn", "foreign", "half a header", "damaged"])
def test_nothing_is_stepped_over_where_something_else_ends_the_medium_and_no_link_vouches(tail: bytes) -> None:
    data = FIRST + DAMAGED_SECOND + THIRD + tail
    result = server_scan(data)
    assert members(result.data) == LOADED[1]
    assert (len(result.frames), result.damages) == (1, [])
    assert (result.tail, result.valid_length) == (Tail.DAMAGED, ENDS[1])
    assert "checksum" in result.reason


@pytest.mark.parametrize("tail", [TORN, b"x", DAMAGED_SECOND], ids=["torn", "foreign", "damaged"])
def test_link_that_names_a_frame_vouches_for_it_whatever_is_behind_it(tail: bytes) -> None:
    data = FIRST + DAMAGED_SECOND + THIRD + tail
    result = server_scan(data, digest_of(THIRD), digest=digest_of(THIRD))
    assert members(result.data) == {}
    assert [damage[:2] for damage in result.damages] == [(ENDS[1], ENDS[2])]
    assert result.valid_length == len(data) - len(tail)
    assert result.tail is (Tail.TORN if tail is TORN else Tail.DAMAGED)


def test_links_vouch_for_what_they_name_and_not_for_what_is_behind_another_damaged_frame() -> None:
    data = FIRST + DAMAGED_SECOND + SECOND + DAMAGED_SECOND + THIRD + b"x"
    result = server_scan(data, digest_of(SECOND))
    assert [frame.digest for frame in result.frames] == [digest_of(FIRST), digest_of(SECOND)]
    assert members(result.data) == LOADED[2]


def test_frames_between_two_damaged_ones_go_with_them_unless_something_vouches_for_these() -> None:
    data = FIRST + DAMAGED_SECOND + SECOND + DAMAGED_SECOND + THIRD
    result = server_scan(data)
    assert [frame.digest for frame in result.frames] == [digest_of(FIRST), digest_of(THIRD)]
    assert [damage[:2] for damage in result.damages] == [(ENDS[1], len(data) - len(THIRD))]
    linked = server_scan(data, digest_of(SECOND))
    assert [frame.digest for frame in linked.frames] == [digest_of(FIRST), digest_of(SECOND), digest_of(THIRD)]
    assert len(linked.damages) == 2


def test_frame_inside_a_value_is_never_reached_by_a_length_that_is_wrong() -> None:
    """Whichever byte the wrong length leads to: the payload around the frame ends behind it."""
    inner = encode_frame(b"{}").decode()
    outer = encode_frame(json.dumps({"decoy": inner, "z": inner}, separators=(",", ":")).encode())
    for length in range(len(FIRST + outer)):
        data = altered(FIRST, len(MAGIC), b"%012d" % length) + outer
        result = server_scan(data)
        if length == len(FIRST) - HEADER_SIZE:
            assert members(result.data) == {b"decoy": inner.encode(), b"z": inner.encode()}
        else:
            assert (result.frames, result.damages) == ([], []), length


def test_library_never_steps_over() -> None:
    assert members(scan(FIRST + DAMAGED_SECOND + THIRD).data) == LOADED[1]


# --- In short steps ---


def test_step_of_a_scan_loads_no_more_than_a_window_of_keys() -> None:
    medium = encode_frame(b"{%b}" % b",".join(b'"key:%05d":"value"' % number for number in range(30_000)))
    loaded: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kvserver.formats.scan.load_shards", lambda shards, members: loaded.append(len(members)))
        steps = scan_steps(len(medium), TAGGED)
        with suppress(StopIteration):
            request = next(steps)
            while True:
                before = len(loaded)
                answer = medium[request.offset : request.offset + request.length] if request else b""
                assert len(answer) <= CHUNK_BYTES
                request = steps.send(answer)
                assert len(loaded) <= before + 1, "one batch a step"
    assert sum(loaded) >= 29_000
    assert max(loaded) <= 4096 // len('"key:00000":"value",') + 1
