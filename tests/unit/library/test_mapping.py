"""A store is the mapping that a dict is, whatever keeps its data, and in the midst of a flush."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from helpers.documents import exact
from kvserver import FileMedium, KVStore, MemoryMedium, ServerFolder
from kvserver.formats.frame import HEADER_SIZE
from kvserver.library.keeping import InMemory

SEED = random.SystemRandom().randrange(1 << 32)
STEPS = 1_500


class Busy(InMemory):
    """A place where somebody else is at work while a frame is written, and behind that."""

    work: Callable[[], None] = staticmethod(lambda: None)

    def append(self, payload: Iterable[bytes], key_count: int) -> None:
        self.work()
        super().append(payload, key_count)
        self.work()


PLACES: dict[str, Callable[[Path], Any]] = {
    "memory": lambda path: None,
    "a medium": lambda path: MemoryMedium(),
    "a file": lambda path: FileMedium(path / "users.kvs"),
    "a folder": lambda path: path,
}


@pytest.fixture(params=PLACES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with KVStore(PLACES[request.param](tmp_path)) as store:
        yield store


def check(store: KVStore, model: dict[str, Any]) -> None:
    assert exact(dict(store.items())) == exact(model)
    assert sorted(store) == sorted(model)
    assert len(list(store)) == len(store) == len(model)


def some_change(rng: random.Random, store: KVStore, model: dict[str, Any]) -> None:
    """The same call on both, with the same result."""
    key, value = f"key {rng.randrange(40)}", rng.choice([None, 1, 2.5, "é", [1, {"a": None}], {"b": [True]}, -(10**30)])
    what = rng.choice(["set", "add", "del", "delete", "pop", "pop or", "setdefault", "update", "popitem", "incr", "clear"])
    match what:
        case "set":
            store[key] = model[key] = value
        case "add":
            assert store.add(key, value) is (key not in model)
            model.setdefault(key, value)
        case "del" | "pop":
            results = []
            for each in (store, model):
                try:
                    results.append(each.pop(key) if what == "pop" else each.__delitem__(key))
                except KeyError as missing:
                    results.append(missing.args)
            assert exact(results[0]) == exact(results[1])
        case "delete":
            assert store.delete(key) is (key in model)
            model.pop(key, None)
        case "pop or":
            assert exact(store.pop(key, "none")) == exact(model.pop(key, "none"))
        case "setdefault":
            assert exact(store.setdefault(key, value)) == exact(model.setdefault(key, value))
        case "update":
            store.update({key: value}, other=value)
            model.update({key: value}, other=value)
        case "popitem" if model:
            found, content = store.popitem()
            assert exact(content) == exact(model.pop(found))
        case "incr":
            model["counter"] = (model["counter"] if type(model.get("counter")) is int else 0) + 3
            if type(store.get("counter")) is not int:
                store["counter"] = 0
            assert store.incr("counter", 3) == model["counter"]
        case "clear" if rng.random() < 0.1:
            store.clear()
            model.clear()
    assert exact(store.get(key, "none")) == exact(model.get(key, "none"))
    assert (key in store) is (key in model)


def test_it_does_what_a_dict_does(store: KVStore) -> None:
    print("seed", SEED)
    rng, model = random.Random(SEED), dict[str, Any]()
    assert isinstance(store, MutableMapping)
    for step in range(STEPS):
        some_change(rng, store, model)
        if step % 50 == 0:
            check(store, model)
    store.shutdown()
    assert store.restore() is True
    check(store, model)
    assert store == model
    assert (model | {"more": 1}) != store


def test_it_does_so_in_the_midst_of_a_flush_whose_frame_has_what_was_there_at_its_begin() -> None:
    print("seed", SEED)
    rng, model = random.Random(SEED), dict[str, Any]()
    place = Busy()
    store = KVStore(place)

    def work() -> None:
        for _ in range(60):
            some_change(rng, store, model)
        check(store, model)

    work()
    for _ in range(20):
        before = store.frame()
        place.work = work
        store.shutdown()
        place.work = lambda: None
        assert place._frame == before
        check(store, model)
        assert len(before) > HEADER_SIZE


def test_value_of_a_missing_key_is_none_the_default_or_a_key_error(store: KVStore) -> None:
    store["there"] = None
    assert store.get("there", 1) is None
    assert (store.get("missing"), store.get("missing", 1)) == (None, 1)
    for call in (store.__getitem__, store.__delitem__, store.pop):
        with pytest.raises(KeyError, match="missing"):
            call("missing")
    assert store.popitem() == ("there", None)
    with pytest.raises(KeyError, match="empty"):
        store.popitem()


@pytest.mark.parametrize("key", [1, b"k", None])
def test_key_that_is_no_str_is_refused_by_each_call(store: KVStore, key: Any) -> None:
    calls: list[Callable[[], object]] = [
        *(lambda call=call: call(key) for call in (store.get, store.delete, store.pop, store.incr, store.ttl)),
        *(lambda call=call: call(key, 1) for call in (store.set, store.add, store.expire, store.setdefault)),
        lambda: store[key],
        lambda: store.update({key: 1}),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=f"keys must be str, not {type(key).__name__}"):
            call()
    assert len(store) == 0


@pytest.mark.parametrize("key", [1, b"k", None, [], ("k", 1, 2)])
def test_what_is_no_str_is_not_in_it(store: KVStore, key: Any) -> None:
    store["k"] = 1
    assert key not in store
    assert key not in store.keys()  # noqa: SIM118
    assert key not in store.items()
    assert (key, 1) not in store.items()
    assert store.keys() & [key, "k"] == {"k"}
    assert store.items() & [(key, 1), ("k", 1)] == {("k", 1)}
    assert not store.keys().isdisjoint([key, "k"])
    assert store.keys().isdisjoint([key])
    assert store != {"k": 1, "other": key}


def test_update_takes_what_that_of_a_dict_takes(store: KVStore) -> None:
    class WithKeys:
        def keys(self) -> list[str]:
            return ["a", "b"]

        def __getitem__(self, key: str) -> str:
            return key * 2

    store.update({"x": 1})
    store.update([("y", 2), ("y", 3)], z=4)
    store.update(WithKeys(), self=5)
    assert dict(store) == {"x": 1, "y": 3, "z": 4, "a": "aa", "b": "bb", "self": 5}


def test_update_with_something_that_cannot_be_stored_changes_nothing(store: KVStore) -> None:
    store["a"] = 1
    with pytest.raises(TypeError):
        store.update([("a", 2), ("b", {1, 2})])
    with pytest.raises(ValueError, match="not JSON"):
        store.update({"a": 2}, b=float("nan"))
    assert dict(store) == {"a": 1}


def test_views_follow_the_store(store: KVStore) -> None:
    keys, values, items = store.keys(), store.values(), store.items()
    store.update(a=1, b=[2])
    assert keys == {"a", "b"}
    assert sorted(keys & {"a", "c"}) == ["a"]
    assert [2] in values
    assert 3 not in values
    assert ("b", [2]) in items
    assert ("b", 2) not in items
    assert sorted(map(repr, values)) == ["1", "[2]"]
    assert (len(keys), len(values), len(items)) == (2, 2, 2)
    del store["a"]
    assert list(items) == [("b", [2])]
    assert repr(store) == "<KVStore of 1 keys>"


# --- Numbers ---


def test_numbers_are_added_to() -> None:
    store = KVStore()
    assert store.incr("n") == 1
    assert store.incr("n", -5) == -4
    assert exact(store.incr("n", 0.5)) == exact(-3.5)
    assert exact(store["n"]) == exact(-3.5)
    store["big"] = 10**30
    assert store.incr("big") == 10**30 + 1 == store["big"]
    store["digits"] = "9"
    assert store.incr("digits") == 10
    assert store["digits"] == "10"


@pytest.mark.parametrize(
    ("value", "by", "error", "text"),
    [
        ("1.5", 1, TypeError, "a str that is no integer"),
        ("", 1, TypeError, "a str that is no integer"),
        ("007", 1, TypeError, "a str that is no integer"),
        ("1", 0.5, TypeError, "a str of digits"),
        (str(2**63 - 1), 1, ValueError, "more than 64 bits"),
        (True, 1, TypeError, "a bool"),
        (None, 1, TypeError, "a NoneType"),
        ([1], 1, TypeError, "a list"),
        (1, True, TypeError, "by must be an int or a float, not bool"),
        (1, "1", TypeError, "by must be an int or a float, not str"),
        (1, float("inf"), ValueError, "not JSON"),
        (1e308, 1e308, ValueError, "not JSON"),
        (10**400, 0.5, ValueError, "too large for a float"),
        (b"\xff", 1, TypeError, "a str that is no integer"),
    ],
)
def test_sum_that_is_none_is_refused(value: Any, by: Any, error: type[Exception], text: str) -> None:
    store = KVStore()
    store["n"] = value
    before = store.frame()
    with pytest.raises(error, match=text):
        store.incr("n", by)
    assert store.frame() == before


def test_keys_of_a_server_that_are_no_utf8_have_names(tmp_path: Path) -> None:
    with ServerFolder(tmp_path) as folder:
        folder.databases[0].set(b"\xff\xfe", b"1")
        store = KVStore(folder)
        [name] = store
        assert name == "\udcff\udcfe"
        assert store[name] == "1"
        store.update(store)
        store[name] = 2
        assert dict(store.items()) == {name: 2}
        assert "\ud800" not in store
        with pytest.raises(ValueError, match="surrogate"):
            store["\ud800"] = 1
        assert store.pop(name) == 2
        assert len(store) == 0
