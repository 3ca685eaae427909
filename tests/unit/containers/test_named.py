"""Things by name are forked when they are first changed, one by one, and no fork sees what becomes of another."""

from __future__ import annotations

from typing import Self

from hypothesis import given, settings
from hypothesis import strategies as st

from kvserver.containers.named import Named


class Box:
    """A thing with a number, which counts the forks that were made."""

    forks = 0

    def __init__(self, number: int) -> None:
        self.number = number
        self.owner: object = None

    def fork(self) -> Self:
        Box.forks += 1
        return type(self)(self.number)

    def size_bytes(self) -> int:
        return 100


def contents(things: Named[Box]) -> dict[bytes, int]:
    found = {name: thing.number for name, thing in things.in_order()}
    assert list(found) == sorted(things) == sorted(name for chunk in things.chunks() for name in chunk)
    assert len(things) == len(found)
    return found


names = st.sampled_from([b"a", b"b", b"\0", b""])
steps = st.tuples(st.sampled_from(["add", "change", "discard", "fork", "swap"]), names, st.integers(0, 9))


@settings(max_examples=50)
@given(st.lists(steps, max_size=30))
def test_forks_are_independent(some: list[tuple[str, bytes, int]]) -> None:
    things: Named[Box] = Named()
    model: dict[bytes, int] = {}
    others: list[tuple[Named[Box], dict[bytes, int]]] = []
    for what, name, number in some:
        match what:
            case "add":
                assert things.add(name, Box(number)).number == number
                model[name] = number
            case "change":
                owned = things.own(name)
                assert (owned is None) == (name not in model)
                if owned is not None:
                    owned.number = model[name] = number
            case "discard":
                assert things.discard(name) == (model.pop(name, None) is not None)
            case "fork":
                others.append((things.fork(), dict(model)))
            case _ if others:
                other, before = others.pop()
                others.append((things, model))
                things, model = other, before
        found = things.get(name)
        assert (None if found is None else found.number) == model.get(name)
        assert contents(things) == model
    assert all(contents(other) == before for other, before in others)


def test_only_what_is_changed_is_forked_and_only_once() -> None:
    things: Named[Box] = Named()
    for number in range(1000):
        things.add(b"%d" % number, Box(number))
    before = Box.forks
    other = things.fork()
    for _ in range(3):
        assert other.own(b"7") is other.get(b"7")
        assert things.own(b"8") is things.get(b"8")
    assert Box.forks == before + 2


def test_size_grows_with_the_things() -> None:
    things: Named[Box] = Named()
    assert things.size_bytes() == 0
    things.add(b"a", Box(1))
    one = things.size_bytes()
    for number in range(100):
        things.add(b"%d" % number, Box(1))
    assert things.size_bytes() > 10_000 > one > 100
