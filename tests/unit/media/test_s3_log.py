"""The log in an object store: answers that are lost, conflicts, fences that come late, and what a trim leaves."""

from __future__ import annotations

import json

import pytest

from helpers.s3_servers import FakeS3, Fault, S3Server
from kvserver.errors import MediumError, Refused, Trimmed, Unknown
from kvserver.formats.manifest import BEGINNING, Position
from kvserver.media.s3_bucket import Bucket
from kvserver.media.s3_log import MOST_AHEAD, MOST_IN_FLIGHT, S3Log, path_of
from kvserver.media.shared import Entry, Mark, digest_of


@pytest.fixture
def log(fake_s3: tuple[S3Server, FakeS3]) -> S3Log:
    return S3Log(Bucket(fake_s3[0].url("bucket/kv")))


def append(log: S3Log, last: Entry | None, data: bytes, epoch: int = 1) -> Entry:
    mark = Mark(epoch, last.mark.number + 1, digest_of(last.mark, last.data)) if last else Mark(epoch, 1, "")
    return Entry(log.append(data, mark, last.position if last else BEGINNING), mark, data)


def lost(method: str, path: str) -> Fault | None:
    return Fault(has_effect=True) if method == "PUT" else None


def broken(method: str, path: str) -> Fault | None:
    return Fault() if method == "PUT" else None


def names_in(store: FakeS3) -> list[str]:
    return sorted(path.removeprefix("/bucket/kv/") for path in store.objects)


def test_objects_have_the_names_of_their_positions(log: S3Log, fake_s3: tuple[S3Server, FakeS3]) -> None:
    entry = append(log, append(log, append(log, None, b"fence"), b"one"), b"two")
    append(log, append(log, entry, b"fence", epoch=3), b"three", epoch=3)
    assert names_in(fake_s3[1]) == [
        "log/0000000000/0000000000000001",
        "log/0000000001/0000000000000001",
        "log/0000000001/0000000000000002",
        "log/0000000001/0000000000000003",
        "log/0000000003/0000000000000001",
    ]


def test_lost_answer_is_unknown_and_the_same_entry_again_is_taken(log: S3Log, fake_s3: tuple[S3Server, FakeS3]) -> None:
    store = fake_s3[1]
    fence = append(log, None, b"fence")
    for has_effect in (True, False):
        store.fault_of = lost if has_effect else broken
        with pytest.raises(Unknown):
            append(log, fence, b"data")
        assert len(store.objects) == (2 if has_effect else 1)
        store.fault_of = lambda method, path: None
        for _ in range(2):
            assert append(log, fence, b"data").position == Position(1, 1)
        # Another writer of the same epoch can't be told from us by its mark alone.
        with pytest.raises(Refused, match=r"^something else stands at s3://bucket/kv/log/0000000001/0000000000000001$"):
            append(log, fence, b"datb")
        del store.objects[f"/bucket/kv/{path_of(1, 1)}"]


def test_outcome_of_a_conflict_is_told_by_what_stands_there(log: S3Log, fake_s3: tuple[S3Server, FakeS3]) -> None:
    store = fake_s3[1]
    fence = append(log, None, b"fence")
    store.fault_of = lambda method, path: Fault(409, "ConditionalRequestConflict") if method == "PUT" else None
    with pytest.raises(Unknown, match="another request was under way, and nothing was written"):
        append(log, fence, b"data")
    store.fault_of = lambda method, path: None
    append(log, fence, b"data")
    store.fault_of = lambda method, path: Fault(409, "ConditionalRequestConflict") if method == "PUT" else None
    assert append(log, fence, b"data").position == Position(1, 1)
    with pytest.raises(Refused):
        append(log, fence, b"datb")
    # Nobody can look.
    store.fault_of = lambda method, path: Fault(409, "ConditionalRequestConflict") if method == "PUT" else Fault()
    with pytest.raises(Unknown):
        append(log, fence, b"data")


def test_reader_asks_for_more_names_the_faster_entries_come(log: S3Log, fake_s3: tuple[S3Server, FakeS3]) -> None:
    store = fake_s3[1]
    entries = [append(log, None, b"fence")]
    for number in range(40):
        entries.append(append(log, entries[-1], b"%d" % number))
    found: list[Entry] = []
    sizes = []
    while more := log.read(found[-1].position if found else BEGINNING, 0):
        found += more
        sizes.append(len(more))
    assert found == entries
    # The fence, then all that is asked for at once, and what is left.
    assert sizes == [1, 2, 4, 8, 16, 10]
    assert max(sizes) == MOST_AHEAD
    store.requests.clear()
    # Who waits asks for one name, and looks at what was trimmed.
    log.read(found[-1].position, 0)
    log.read(found[-1].position, 0)
    log.read(found[-1].position, 0)
    assert len(store.requests) <= 2 * 10 + 4


def read_on(log: S3Log, entries: list[Entry], number: int) -> None:
    """Read behind the entry with this number until nothing more comes."""
    while found := log.read(entries[number].position, 0):
        # What a trim has left may be read.
        assert found == entries[number + 1 : number + 1 + len(found)]
        number += len(found)


def test_trim_leaves_the_fences(s3_server: S3Server) -> None:
    bucket = Bucket(s3_server.url("kvserver/trims"))
    log = S3Log(bucket)
    last: Entry | None = None
    entries = []
    for epoch in (1, 2, 5):
        for number in range(8):
            entries.append(last := append(log, last, b"%d" % number, epoch))
    # An entry of the second epoch that was in flight comes behind the fence of the fifth.
    stray = path_of(2, 9)
    bucket.create(stray, b"stray", {"kv-mark": "2 99 -", "kv-check": "?"})
    log.trim(entries[-3].position)
    left = [listed.path for listed in bucket.list("log")]
    assert left == [
        path_of(0, 1),
        *(path_of(1, number) for number in range(9 - MOST_IN_FLIGHT, 9)),
        *(path_of(2, number) for number in (6, 7, 8)),
        stray,
        path_of(5, 6),
        path_of(5, 7),
        "log/trimmed.json",
    ]
    found = bucket.get("log/trimmed.json")
    assert found
    assert json.loads(found.data) == {"epoch": 5, "number": 5}
    for number in range(len(entries) - 3):
        with pytest.raises(Trimmed):
            read_on(S3Log(bucket), entries, number)
    assert S3Log(bucket).read(entries[-3].position, 0) == entries[-2:-1]
    # Who comes later has trimmed less, and takes nothing back.
    log.trim(entries[3].position)
    assert [listed.path for listed in bucket.list("log")] == left
    with pytest.raises(Trimmed):
        S3Log(bucket).read(entries[2].position, 0)
    # All earlier writers are refused, still.
    for entry in (entries[7], entries[15]):
        with pytest.raises(Refused):
            append(log, entry, b"late", entry.mark.epoch)


def test_fence_in_a_place_that_was_trimmed_counts_for_nobody(s3_server: S3Server) -> None:
    bucket = Bucket(s3_server.url("kvserver/laggards"))
    log = S3Log(bucket)
    entries = [append(log, None, b"fence")]
    for number in range(8):
        entries.append(append(log, entries[-1], b"%d" % number))
    log.trim(entries[6].position)
    with pytest.raises(Refused, match=r"were trimmed$"):
        append(S3Log(bucket), entries[2], b"laggard", epoch=2)
    # It stands there, and is no way for anybody.
    assert bucket.look(path_of(1, 3))
    with pytest.raises(Trimmed):
        S3Log(bucket).read(entries[2].position, 0)


def test_fence_that_nobody_can_look_behind_is_unknown(log: S3Log, fake_s3: tuple[S3Server, FakeS3]) -> None:
    store = fake_s3[1]
    last = append(log, append(log, None, b"fence"), b"data")
    store.fault_of = lambda method, path: Fault(503, "SlowDown") if path.endswith("trimmed.json") else None
    with pytest.raises(Unknown):
        append(log, last, b"fence", epoch=2)
    store.fault_of = lambda method, path: None
    assert append(log, last, b"fence", epoch=2).position == Position(2, 0)


def test_strange_object_is_told_and_not_passed_over(log: S3Log, fake_s3: tuple[S3Server, FakeS3]) -> None:
    store = fake_s3[1]
    fence = append(log, None, b"fence")
    append(log, fence, b"data")
    path = f"/bucket/kv/{path_of(1, 1)}"
    right = store.objects[path]
    for content, line in (
        ((b"datb", right[1]), "is damaged: it is not what its mark says"),
        ((b"data", {}), "is no entry of a log: it has no mark"),
        ((b"data", {**right[1], "x-amz-meta-kv-mark": "nonsense"}), "is no entry of a log: it has no mark"),
    ):
        store.objects[path] = content
        with pytest.raises(MediumError, match=f"^s3://bucket/kv/{path_of(1, 1)} {line}$"):
            log.read(fence.position, 0)
    store.objects[path] = right
    store.objects["/bucket/kv/log/trimmed.json"] = b"nonsense", {}
    with pytest.raises(MediumError, match=r"^s3://bucket/kv/log/trimmed\.json is no position$"):
        log.read(Position(1, 1), 0)
