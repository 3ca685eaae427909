"""KVStore works over every kind of medium, and says so where one is bad."""

from __future__ import annotations

import copy
import errno
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kvserver
from helpers.disks import Disk
from helpers.documents import AWKWARD_NUMBERS, AWKWARD_TEXTS, canonical_by_json, exact, tag_like_values, texts, values
from kvserver import FileMedium, KVStore, MemoryMedium
from kvserver.errors import MediumError, MediumPoisoned
from kvserver.formats.frame import encode_frame
from kvserver.library.operations import PlainBuffer
from kvserver.media.medium import CoreMedium

DAMAGE = b"these bytes are no frame"


@pytest.fixture(params=["memory", "file", "core-only"])
def medium(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CoreMedium]:
    if request.param == "file":
        with FileMedium(tmp_path / "users.kvs") as file:
            yield file
    else:
        yield MemoryMedium() if request.param == "memory" else PlainBuffer()


def frame_of(document: dict[str, Any]) -> bytes:
    return encode_frame(canonical_by_json(document))


# --- The contract of the library ---


def test_value_comes_back_and_a_missing_key_is_none(medium: CoreMedium) -> None:
    store = KVStore(medium)
    store.set("user", {"name": "Ada"})
    assert store.get("user") == {"name": "Ada"}
    assert store.get("nobody") is None


def test_shutdown_appends_one_canonical_frame_and_the_store_stays_usable(medium: CoreMedium) -> None:
    store = KVStore(medium)
    assert store.shutdown() is True
    store.set("b", 1e16)
    store.set("a", "é")
    assert store.shutdown() is True
    assert medium.read_all() == frame_of({}) + frame_of({"a": "é", "b": 1e16})
    assert store.frame() == frame_of({"a": "é", "b": 1e16})
    store.set("a", None)
    assert store.get("a") is None
    assert store.get("b") == 1e16


def test_restore_gives_the_last_frame_and_drops_what_came_after(medium: CoreMedium) -> None:
    store = KVStore(medium)
    store.set("a", 1)
    store.shutdown()
    store.set("a", 2)
    store.set("b", 3)
    assert store.restore() is True
    assert store.get("a") == 1
    assert store.get("b") is None
    other = KVStore(medium)
    assert other.get("a") is None
    assert other.restore() is True
    assert other.get("a") == 1


def test_restore_without_a_frame_clears_the_store(medium: CoreMedium) -> None:
    store = KVStore(medium)
    store.set("a", 1)
    assert store.restore() is False
    assert store.get("a") is None


def test_restore_of_an_empty_snapshot_is_true_and_clears_the_store(medium: CoreMedium) -> None:
    store = KVStore(medium)
    store.shutdown()
    store.set("a", 1)
    assert store.restore() is True
    assert store.get("a") is None


def test_public_names_are_those_of_the_contract() -> None:
    assert {"KVStore", "MemoryMedium", "FileMedium", "run_operations"} <= set(kvserver.__all__)
    assert all(hasattr(kvserver, name) for name in kvserver.__all__)


@settings(max_examples=100)
@given(st.dictionaries(texts, values | tag_like_values, max_size=8))
def test_everything_json_can_hold_survives_a_flush(document: dict[str, Any]) -> None:
    medium = MemoryMedium()
    store = KVStore(medium)
    for key, value in document.items():
        store.set(key, value)
    store.shutdown()
    assert medium.read_all() == frame_of(document)
    restored = KVStore(MemoryMedium(medium.read_all()))
    assert restored.restore() is True
    for key, value in document.items():
        assert exact(restored.get(key)) == exact(store.get(key)) == exact(value)


@pytest.mark.parametrize("value", [*AWKWARD_TEXTS, *AWKWARD_NUMBERS, None, True, [], {}, [[]]], ids=repr)
def test_awkward_value_and_key_survive_a_flush(value: Any) -> None:
    medium = MemoryMedium()
    store = KVStore(medium)
    store.set("k", value)
    store.set(str(value), value)
    store.shutdown()
    store.restore()
    assert exact(store.get("k")) == exact(store.get(str(value))) == exact(value)


def test_tags_of_the_server_mean_nothing_to_the_library() -> None:
    medium = MemoryMedium()
    store = KVStore(medium)
    store.set("$kvs:gA==", {"$kvs": {"base64": "gA=="}})
    store.shutdown()
    assert medium.read_all() == frame_of({"$kvs:gA==": {"$kvs": {"base64": "gA=="}}})


# --- What is taken, and when ---


def test_value_is_taken_as_it_is_at_set_and_given_as_a_copy() -> None:
    store = KVStore(MemoryMedium())
    value = {"list": [1, {"deep": "x"}]}
    before = copy.deepcopy(value)
    store.set("k", value)
    value["list"].clear()
    value["new"] = []
    assert store.get("k") == before
    store.get("k")["list"].append(2)
    assert store.get("k") == before


REFUSED: list[tuple[Any, Any]] = [
    ("k", b"bytes"),
    ("k", {1, 2}),
    ("k", object()),
    ("k", {1: "a"}),
    ("k", [{"a": {None: 1}}]),
    ("k", float("nan")),
    ("k", [float("inf")]),
    ("k", "\ud800"),
    ("k", ["\ud800"]),
    ("k", 10**5000),
    ("k", json.loads("[" * 600 + "]" * 600)),
    (1, "v"),
    (b"k", "v"),
    (None, "v"),
    (("k",), "v"),
    ("\ud800", "v"),
]


@pytest.mark.parametrize(("key", "value"), REFUSED, ids=lambda part: type(part).__name__)
def test_refused_set_leaves_the_store_as_it_was(key: Any, value: Any) -> None:
    store = KVStore(MemoryMedium())
    store.set("k", "old")
    before = store.frame()
    with pytest.raises((TypeError, ValueError)):
        store.set(key, value)
    assert store.frame() == before
    assert store.get("k") == "old"


@pytest.mark.parametrize("key", [1, b"k", None])
def test_key_of_another_type_is_a_type_error(key: Any) -> None:
    with pytest.raises(TypeError, match=f"keys must be str, not {type(key).__name__}"):
        KVStore(MemoryMedium()).set(key, 1)


def test_frame_written_elsewhere_is_read_as_python_reads_it() -> None:
    payload = b' {"n": NaN, "i":[-Infinity], "s":"a\\ud800", "\\udfff":1, "a":1, "a":2 }\n'
    store = KVStore(MemoryMedium(encode_frame(payload)))
    assert store.restore() is True
    assert repr(store.get("n")) == "nan"
    assert store.get("i") == [float("-inf")]
    assert store.get("s") == "a\ud800"
    assert store.get("\udfff") == 1
    assert store.get("a") == 2
    assert store.frame() == encode_frame(rb'{"a":2,"i":[-Infinity],"n":NaN,"s":"a\ud800","\udfff":1}')


# --- Repair ---


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_flush_behind_a_torn_tail_cuts_it_with_one_line(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good, torn = frame_of({"a": 1}), frame_of({"a": 2})[:50]
    with opened(kind, tmp_path, good + torn) as medium:
        store = KVStore(medium)
        assert store.restore() is True
        store.set("b", 2)
        store.shutdown()
        assert medium.read_all() == good + frame_of({"a": 1, "b": 2})
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert f"50 bytes at offset {len(good)}" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == (["users.kvs"] if kind == "file" else [])


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_flush_behind_damage_copies_it_aside_before_it_is_cut(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = frame_of({"a": 1})
    with opened(kind, tmp_path, good + DAMAGE) as medium:
        store = KVStore(medium)
        store.restore()
        store.shutdown()
        assert medium.read_all() == good + good
        if isinstance(medium, MemoryMedium):
            assert medium.asides == [DAMAGE]
        else:
            asides = [path for path in tmp_path.iterdir() if path.name != "users.kvs"]
            assert [path.read_bytes() for path in asides] == [DAMAGE]
            assert str(asides[0]) in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert f"{len(DAMAGE)} bytes at offset {len(good)}" in caplog.text


def test_flush_without_a_restore_keeps_the_frames_that_were_there(tmp_path: Path) -> None:
    for kind in ("memory", "file"):
        with opened(kind, tmp_path, frame_of({"a": 1}) + DAMAGE) as medium:
            KVStore(medium).shutdown()
            assert medium.read_all() == frame_of({"a": 1}) + frame_of({})


def test_restore_alone_changes_nothing_on_the_medium() -> None:
    for tail in (DAMAGE, frame_of({})[:60]):
        medium = MemoryMedium(frame_of({"a": 1}) + tail)
        assert KVStore(medium).restore() is True
        assert medium.read_all() == frame_of({"a": 1}) + tail
        assert medium.asides == []


def test_damage_that_cannot_be_copied_aside_is_not_cut(tmp_path: Path) -> None:
    content = frame_of({"a": 1}) + DAMAGE
    (tmp_path / "users.kvs").write_bytes(content)
    disk = Disk()
    with FileMedium(tmp_path / "users.kvs", disk) as medium:
        store = KVStore(medium)
        store.restore()
        for method in ("open", "write", "sync", "sync_folder"):
            disk.fail(method, errno.ENOSPC)
            with pytest.raises(MediumError):
                store.shutdown()
            assert medium.read_all() == content, method
            assert store.get("a") == 1
        assert store.shutdown() is True
        assert medium.read_all() == frame_of({"a": 1}) * 2


def opened(kind: str, folder: Path, content: bytes) -> Any:
    if kind == "file":
        path = folder / "users.kvs"
        path.write_bytes(content)
        return FileMedium(path)
    return _Closing(MemoryMedium(content))


class _Closing:
    def __init__(self, medium: MemoryMedium) -> None:
        self._medium = medium

    def __enter__(self) -> MemoryMedium:
        return self._medium

    def __exit__(self, *exception: object) -> None:
        self._medium.close()


# --- Media that fail ---


class FailingBuffer(PlainBuffer):
    """Has only `append` and `read_all`, and refuses to append on demand."""

    is_failing = False

    def append(self, data: bytes) -> None:
        if self.is_failing:
            raise OSError(errno.EIO, "no")
        super().append(data)


def test_failing_core_medium_leaves_frames_and_store_as_they_were() -> None:
    medium = FailingBuffer()
    store = KVStore(medium)
    store.set("a", 1)
    store.shutdown()
    medium.is_failing = True
    store.set("a", 2)
    with pytest.raises(OSError, match="no"):
        store.shutdown()
    assert store.get("a") == 2
    assert medium.read_all() == frame_of({"a": 1})
    store.set("a", 3)
    medium.is_failing = False
    assert store.shutdown() is True
    assert medium.read_all() == frame_of({"a": 1}) + frame_of({"a": 3})


FAULTS: dict[str, Callable[[Disk], None]] = {
    "first write": lambda disk: disk.fail("write", errno.EIO),
    "write of the payload": lambda disk: disk.fail("write", 0, errno.EIO),
    "write of the header": lambda disk: disk.fail("write", 0, 0, errno.EIO),
    "disk full at once": lambda disk: disk.fail("write", errno.ENOSPC),
    "disk full in the payload": lambda disk: disk.fail("write", 0, errno.ENOSPC),
    "quota": lambda disk: disk.fail("write", 0, errno.EDQUOT),
    "first sync": lambda disk: disk.fail("sync", errno.EIO),
    "second sync": lambda disk: disk.fail("sync", 0, errno.EIO),
    "every sync": lambda disk: disk.is_broken_for.add("sync"),
    "every sync and truncate": lambda disk: disk.is_broken_for.update({"sync", "truncate"}),
    "every write and truncate": lambda disk: disk.is_broken_for.update({"write", "truncate"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_failed_flush_leaves_frames_and_store_as_they_were_and_the_next_one_recovers(tmp_path: Path, fault: str) -> None:
    disk = Disk()
    path = tmp_path / "users.kvs"
    first, second = frame_of({"a": 1}), frame_of({"a": 2})
    with FileMedium(path, disk) as medium:
        store = KVStore(medium)
        store.set("a", 1)
        store.shutdown()
        store.set("a", 2)
        FAULTS[fault](disk)
        with pytest.raises(MediumError, match=str(path)):
            store.shutdown()
        assert store.get("a") == 2
        assert path.read_bytes().startswith(first)
        again = KVStore(MemoryMedium(path.read_bytes()))
        assert again.restore() is True
        assert again.get("a") in (1, 2)  # a frame that is whole but not synced may be there or not
        disk.faults.clear()
        disk.is_broken_for.clear()
        assert store.shutdown() is True
        assert medium.poisoned == ""
        assert path.read_bytes() == first + second, "an earlier frame was lost, or the frame is not there once"
    assert [found.name for found in tmp_path.iterdir()] == ["users.kvs"]


def test_failed_recovery_can_be_tried_again(tmp_path: Path) -> None:
    disk = Disk()
    with FileMedium(tmp_path / "users.kvs", disk) as medium:
        store = KVStore(medium)
        store.set("a", 1)
        disk.fail("sync", errno.EIO)
        with pytest.raises(MediumError):
            store.shutdown()
        assert medium.poisoned
        for method in ("open", "write", "rename", "sync"):
            disk.fail(method, errno.EIO)
            with pytest.raises(MediumError):
                store.shutdown()
            assert store.get("a") == 1
            store.set("a", 1)
        assert store.shutdown() is True
        assert medium.read_all() == frame_of({"a": 1})


def test_poisoned_file_is_not_appended_to(tmp_path: Path) -> None:
    disk = Disk()
    with FileMedium(tmp_path / "users.kvs", disk) as medium:
        disk.fail("sync", errno.EIO)
        with pytest.raises(MediumError):
            KVStore(medium).shutdown()
        with pytest.raises(MediumPoisoned, match=r"users\.kvs"):
            medium.append(b"x")


def test_unreadable_medium_is_a_medium_error_and_the_store_stays(tmp_path: Path) -> None:
    disk = Disk()
    with FileMedium(tmp_path / "users.kvs", disk) as medium:
        store = KVStore(medium)
        store.set("a", 1)
        store.shutdown()
        store.set("a", 2)
        disk.is_broken_for.add("read")
        with pytest.raises(MediumError, match="cannot read"):
            store.restore()
        assert store.get("a") == 2


def test_interrupted_flush_leaves_the_store_usable() -> None:
    class Interrupted(MemoryMedium):
        is_interrupted = True

        def append(self, data: bytes) -> None:
            if self.is_interrupted:
                raise KeyboardInterrupt
            super().append(data)

    medium = Interrupted()
    store = KVStore(medium)
    store.set("a", 1)
    with pytest.raises(KeyboardInterrupt):
        store.shutdown()
    store.set("a", 2)
    medium.is_interrupted = False
    assert store.shutdown() is True
    assert medium.read_all() == frame_of({"a": 2})


def test_package_has_the_names_that_it_lists_and_no_others() -> None:
    assert {type(getattr(kvserver, name)).__name__ for name in kvserver.__all__} <= {
        "type",
        "ABCMeta",
        "_ProtocolMeta",
        "function",
        "module",
    }
    assert set(kvserver.__all__) <= set(dir(kvserver))
    with pytest.raises(AttributeError, match="module 'kvserver' has no attribute 'MediumPoison'"):
        kvserver.MediumPoison  # type: ignore[attr-defined]  # noqa: B018
