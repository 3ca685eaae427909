"""What nobody refers to any more is freed in short steps while a server does so, and at once where none does."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kvserver.containers import lazyfree
from kvserver.containers.table import FULL, Table


class Counted:
    """An object that counts how many of its kind there are."""

    alive = 0

    def __init__(self) -> None:
        Counted.alive += 1

    def __del__(self) -> None:
        Counted.alive -= 1


@pytest.fixture(autouse=True)
def server() -> Iterator[None]:
    assert lazyfree.pending() == 0
    lazyfree.begin()
    yield
    lazyfree.end()
    assert lazyfree.pending() == 0
    assert Counted.alive == 0


def filled(count: int) -> Table:
    made = Table()
    made.update((b"%d" % number, Counted()) for number in range(count))
    return made


def contents(piece: list[Any]) -> list[object]:
    return piece.copy()


def freed_by_steps() -> list[int]:
    """The number of objects that each step freed, until nothing waits."""
    steps = []
    before = Counted.alive
    while lazyfree.free_some():
        steps.append(before - Counted.alive)
        before = Counted.alive
    return steps


def test_table_waits_and_is_freed_by_at_most_a_chunk_a_step_and_in_the_end_by_some_members() -> None:
    counted = lazyfree.freed()
    made = filled(2_000)
    del made
    assert (lazyfree.pending(), Counted.alive) == (1, 2_000)
    steps = freed_by_steps()
    assert sum(steps) == 2_000
    assert max(steps) <= lazyfree.STEP
    assert (lazyfree.pending(), lazyfree.freed() - counted) == (0, 1)


def test_pieces_are_freed_one_a_step_but_for_those_of_the_last_pages() -> None:
    pages = [[[Counted() for _ in range(9)] for _ in range(20)] for _ in range(lazyfree.LAST_PAGES + 1)]
    lazyfree.free(pages, contents)
    del pages
    steps = freed_by_steps()
    # The first step takes a page apart.
    assert steps[:21] == [0] + [9] * 20
    assert max(steps[21:]) == lazyfree.STEP
    assert sum(steps) == 9 * 20 * (lazyfree.LAST_PAGES + 1)


def test_small_table_does_not_wait() -> None:
    made = filled(FULL)
    del made
    assert (lazyfree.pending(), Counted.alive) == (0, 0)


def test_chunk_that_a_fork_shares_stays_as_it_is() -> None:
    made = filled(3_000)
    fork = made.fork()
    before = dict(fork.items())
    made.set(b"5", None)
    del made
    assert sum(freed_by_steps()) == 0
    assert dict(fork.items()) == before
    assert fork.delete(b"7")
    before.clear()
    del fork
    assert sum(freed_by_steps()) == 2_999


def test_fork_that_goes_first_leaves_the_table_as_it_is() -> None:
    made = filled(3_000)
    before = dict(made.items())
    fork = made.fork()
    for number in range(3_000):
        fork.delete(b"%d" % number)
    fork = made.fork()
    del fork
    freed_by_steps()
    assert dict(made.items()) == before


def test_table_in_a_table_waits_in_its_turn() -> None:
    outer = Table()
    outer.update((b"%d" % number, filled(1_000) if number == 5 else None) for number in range(1_000))
    del outer
    steps = freed_by_steps()
    assert sum(steps) == 1_000
    assert max(steps) <= lazyfree.STEP


def test_nothing_waits_without_a_server_and_the_last_one_to_end_leaves_nothing() -> None:
    lazyfree.begin()
    made = filled(1_000)
    del made
    lazyfree.end()
    assert lazyfree.pending() == 1
    lazyfree.end()
    assert (lazyfree.pending(), Counted.alive) == (0, 0)
    made = filled(1_000)
    del made
    assert (lazyfree.pending(), Counted.alive) == (0, 0)
    assert not lazyfree.free_some()
    lazyfree.begin()


def test_threads_free_all_that_all_of_them_let_go() -> None:
    counted = lazyfree.freed()

    def work() -> None:
        lazyfree.begin()
        for _ in range(20):
            made = Table()
            made.update((b"%d" % number, None) for number in range(FULL + 1))
            del made
            while lazyfree.free_some():
                pass
        lazyfree.end()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    freed_by_steps()
    assert lazyfree.pending() == 0
    assert lazyfree.freed() > counted


@pytest.mark.parametrize("begun", ["", "lazyfree.begin()"])
def test_end_of_the_interpreter_is_silent(begun: str) -> None:
    # A table that outlives its module, one that waits, and one that a module holds that is taken apart early.
    program = f"""
import builtins, sys
from kvserver.containers import lazyfree
from kvserver.containers.table import Table
{begun}
def filled():
    table = Table()
    table.update((b"%d" % number, None) for number in range(1_000))
    return table
builtins.last = filled()
sys.held = filled()
_early, late = filled(), filled()
filled()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
