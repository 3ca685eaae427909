"""`kvserver check URL`: every part of what is there is proven and told, and nothing is written."""

from __future__ import annotations

import pytest

from helpers.shared_logs import Writer, record
from kvserver.cli.check_url import check_stored, check_url
from kvserver.cli.stored import NO_ENTRY, TRIES
from kvserver.errors import MediumError
from kvserver.formats.record import EMPTY_STORE
from kvserver.media.memory_engine import open_memory_engine


def checked(writer: Writer) -> tuple[bool, list[str]]:
    """What a check says. It must leave all as it was."""
    lines: list[str] = []
    before = writer.vault.manifest(), dict(writer.vault.objects), writer.log.last
    is_well = check_stored(writer.stored, lines.append)
    assert before == (writer.vault.manifest(), writer.vault.objects, writer.log.last)
    return is_well, lines


@pytest.fixture
def writer() -> Writer:
    writer = Writer()
    writer.lead()
    writer.write("SET a 1")
    return writer


def test_snapshots_and_log_are_told(writer: Writer) -> None:
    writer.snapshot({"a": "1"}, trims=True)
    writer.write("SET b 2", "SET c 3")
    writer.append(b"")
    writer.cease()
    writer.lead()
    is_well, lines = checked(writer)
    assert is_well
    digest = writer.stored.manifest().linked
    assert lines == [
        "memory://data: manifest 1, epoch 1, 1 snapshots",
        f"snapshot 1: snapshot-1, payload 9, checksum ok ({digest[:16]}…), 1 keys",
        "the log goes on from the snapshot 1, behind the entry 2",
        "entry 5: who led in the epoch 1 writes no more",
        "entry 6: the node node2 at 10.0.0.1:6379 leads, in the epoch 2, its lease is 3000 ms",
        f"4 entries, 1 of them empty; 1 valid frames, 2 commands, {len(record('SET b 2', 'SET c 3'))} bytes",
        "a start would load the snapshot 1 and run 2 commands",
    ]


def test_snapshots_whose_log_is_elsewhere_are_told(writer: Writer) -> None:
    writer.snapshot({"a": "1"}, trims=True)
    is_well, lines = checked(writer)
    assert is_well
    assert lines[-2] == NO_ENTRY


def test_log_without_a_snapshot_goes_on_from_the_empty_store(writer: Writer) -> None:
    is_well, lines = checked(writer)
    assert is_well
    assert lines[0] == "memory://data: no manifest"
    assert lines[-1] == "a start would load the empty store and run 1 commands"


def test_backups_of_a_server_are_told_without_a_log() -> None:
    writer = Writer()
    writer.snapshot({"a": "1"}, owner="ab" * 16)
    writer.snapshot({"a": "1", "b": "2"}, owner="ab" * 16)
    is_well, lines = checked(writer)
    assert is_well
    assert lines[0] == f"memory://data: manifest 2, the backups of the server {'ab' * 16}, 2 snapshots"
    assert lines[-1] == "`kvserver restore` would bring the snapshot 2"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a":"2"}', "the checksum does not match the payload"),
        (b'{"a":"1"', "the object is shorter"),
        (b'{"a":"1"}!', "the object is longer"),
        (b"", "the object is shorter"),
        (None, "there is no object snapshot-1"),
    ],
)
def test_damaged_snapshot_is_told_and_those_behind_are_looked_at(writer: Writer, data: bytes | None, reason: str) -> None:
    frame = writer.snapshot({"a": "1"})
    writer.snapshot({"b": "1"})
    if data is None:
        del writer.vault.objects[frame.name]
    else:
        writer.vault.objects[frame.name] = data
    is_well, lines = checked(writer)
    assert not is_well
    assert lines[1] == f"DAMAGED: snapshot 1: snapshot-1, payload 9: {reason}"
    assert "checksum ok" in lines[2]


def test_unfinished_record_is_torn(writer: Writer) -> None:
    writer.append(record("SET b 2")[:-4])
    is_well, lines = checked(writer)
    assert not is_well
    assert lines[-2].startswith("torn: ")
    assert lines[-2].endswith(" bytes of a record that is not whole, behind the entry 3")
    assert lines[-1] == "a start would load the empty store and run 1 commands"


def test_broken_log_is_told_with_its_place(writer: Writer) -> None:
    writer.append(b"garbage" * 20)
    is_well, lines = checked(writer)
    assert not is_well
    assert lines[-2] == "DAMAGED: the log behind the entry 2: the entry 3 holds what is no record: these bytes begin no frame"


def test_log_whose_beginning_is_gone_is_damaged(writer: Writer) -> None:
    writer.write("SET b 1")
    writer.log.trim(writer.tip.position)
    is_well, lines = checked(writer)
    assert not is_well
    assert lines[-2] == "DAMAGED: the log behind the entry 0: the entry 1 is not there any more"


def test_other_snapshot_that_the_log_goes_on_from_is_told(writer: Writer) -> None:
    number = writer.relink(EMPTY_STORE)
    writer.write("SET b 1", "SET c 1")
    is_well, lines = checked(writer)
    assert is_well
    assert f"entry {number}: the data is that of the empty store from here on" in lines
    assert lines[-1] == "a start would load the empty store and run 2 commands"


def test_other_snapshot_that_is_not_there_is_damage(writer: Writer) -> None:
    writer.relink("ab" * 32)
    is_well, lines = checked(writer)
    assert not is_well
    assert lines[-2] == f"DAMAGED: the log goes on from the snapshot {'ab' * 8}…, which is not there"


def test_nothing_there_is_an_error() -> None:
    with pytest.raises(MediumError, match=r"^there is nothing at memory://data$"):
        checked(Writer())
    with pytest.raises(MediumError, match=r"^there are no snapshots at memory://data$"):
        check_stored(Writer().stored._replace(log=None), lambda line: None)


def test_url_is_opened_and_closed() -> None:
    engine = open_memory_engine("test-check-url")
    with pytest.raises(MediumError, match="there is nothing at memory://test-check-url"):
        check_url("memory://test-check-url", "", lambda line: None)
    assert engine.vault.manifest() == (None, "")


@pytest.mark.parametrize("times", [1, TRIES - 1, TRIES])
def test_snapshot_that_is_replaced_meanwhile_is_no_damage(writer: Writer, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    writer.snapshot({"a": "0"})
    read, left = writer.vault.read, times

    def replacing(name: str, offset: int, length: int) -> bytes:
        nonlocal left
        if left:
            left -= 1
            frame = writer.snapshot({"a": f"{left}"})
            manifest, tag = writer.vault.manifest()
            assert manifest
            writer.vault.commit(manifest._replace(frames=(frame,)), tag)
            writer.vault.remove([name])
        return read(name, offset, length)

    monkeypatch.setattr(writer.vault, "read", replacing)
    lines: list[str] = []
    if times < TRIES:
        assert check_stored(writer.stored, lines.append)
        assert lines[0] == f"memory://data: manifest {1 + times}, epoch 1, 1 snapshots"
        assert "checksum ok" in lines[1]
    else:
        with pytest.raises(MediumError, match="goes on faster than it can be checked"):
            check_stored(writer.stored, lines.append)
        assert not lines
