"""The core changes data as the library does, and leaves to the keeper what takes longer."""

from __future__ import annotations

from kvserver.aio.core import CoreCache, CoreStore
from kvserver.aio.keeper import Keeper
from kvserver.options.config import Config
from kvserver.resp.request import Request


class Recording(Keeper):
    """Notes what it is given."""

    def __init__(self, *, journal: bool) -> None:
        config = Config()
        config.appendonly = journal
        super().__init__(None, config)
        self.written: list[list[Request]] = []
        self.drained = 0

    def write(self, commands: list[Request]) -> None:
        self.written.append(commands)

    def drain(self, shards: object) -> None:
        self.drained += 1


async def test_each_call_is_one_record_of_what_repeats_it() -> None:
    keeper = Recording(journal=True)
    core = CoreStore(keeper)
    core.set("a", "x")
    core.update({"b": 1, "c": 2})
    core.incr("b")
    core.delete("a")
    core.clear()
    assert keeper.written == [
        [[b"SET", b"a", b"x"]],
        [[b"JSON.SET", b"b", b"$", b"1"], [b"JSON.SET", b"c", b"$", b"2"]],
        [[b"JSON.SET", b"b", b"$", b"2"]],
        [[b"DEL", b"a"]],
        [[b"FLUSHDB"]],
    ]
    assert keeper.drained == 1


async def test_without_a_journal_it_is_told_that_something_has_changed_and_no_more() -> None:
    keeper = Recording(journal=False)
    core = CoreStore(keeper)
    assert core.get("a") is None
    assert not keeper.is_changed
    core.set("a", 1)
    assert keeper.is_changed
    assert keeper.written == []


async def test_cache_counts_the_data_in_steps() -> None:
    keeper = Recording(journal=False)
    store = CoreStore(keeper)
    store.update({f"k{number}": number for number in range(5000)})
    core: CoreCache[int] = CoreCache(keeper, size_limit=1 << 20)
    assert sum(1 for _ in core.adoption()) > 1000
    assert core.volume() > 5000 * 100
    assert len(core) == 5000


async def test_record_of_an_eviction_stands_before_what_it_makes_room_for() -> None:
    keeper = Recording(journal=True)
    core: CoreCache[str] = CoreCache(keeper, size_limit=300)
    core.set("a", "x" * 100)
    core.set("b", "y" * 100)
    assert keeper.written[1] == [[b"DEL", b"a"], [b"SET", b"b", b"y" * 100]]
