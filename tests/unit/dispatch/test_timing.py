"""timing: the handlers that are wrapped, at which times, and the calls of which `on_slow` is told."""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run
from kvserver.dispatch.command import MANY_WORDS, Command, container, wrong_arity
from kvserver.dispatch.effect import Effect, Save
from kvserver.dispatch.timing import BOUNDED_NS, NEVER_NS, SAMPLE_COMMANDS, Timing
from kvserver.errors import CommandError, Refusal
from kvserver.resp.reply import OK, Reply
from kvserver.state.session import Session
from kvserver.state.usage import Usages


class Work:
    """A clock, and a handler that makes it go on."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.lasts_ns = 10
        self.error: CommandError | None = None
        self.result: Reply | Effect = OK

    def __call__(self, session: Session, args: list[bytes]) -> Reply | Effect:
        self.now_ns += self.lasts_ns
        if self.error:
            raise self.error
        return self.result


def timing_of(work: Work, *names: str) -> Timing:
    return Timing(lambda: work.now_ns, Usages(names))


def fast(name: str, work: Work, notation: str = "key:key?") -> Command:
    return Command(work, name, notation, "fast", access="RO", since="", group="", summary="", complexity="O(1)")


def slow(name: str, work: Work) -> Command:
    return Command(work, name, "argument?", since="", group="", summary="", complexity="O(N)")


def part(name: str, work: Work, notation: str = "") -> Command:
    return Command(work, name, notation, since="", group="", summary="", complexity="O(1)")


def contained(*parts: Command) -> Command:
    """The command `x`, of which these are parts."""
    made = container("x", since="", group="", summary="")
    made.subcommands = {each.name.encode().partition(b"|")[2]: each for each in parts}
    return made


def slow_calls(timing: Timing) -> list[tuple[list[bytes], int]]:
    told: list[tuple[list[bytes], int]] = []
    timing.on_slow = lambda session, args, duration_ns: told.append((args, duration_ns))
    return told


def test_command_of_bounded_work_runs_unwrapped_but_for_samples() -> None:
    work = Work()
    timing = timing_of(work, "x")
    usual, sampled = timing.wrap(fast("x", work))
    assert usual is work
    assert sampled is not work


def test_other_command_is_always_measured(session: Session) -> None:
    work = Work()
    timing = timing_of(work, "x")
    usual, sampled = timing.wrap(slow("x", work))
    assert usual is sampled
    usual(session, [b"x"])
    work.error = CommandError("ERR x")
    with pytest.raises(CommandError):
        usual(session, [b"x"])
    work.error = Refusal("ERR x")
    with pytest.raises(Refusal):
        usual(session, [b"x"])
    assert timing.usages.by_name[b"x"].durations_ns == [10, 10], "what is refused has not run"


def test_sample_ends_after_so_many_commands_and_begins_again(session: Session) -> None:
    work = Work()
    timing = timing_of(work, "x")
    changes: list[bool] = []
    timing.on_change = lambda: changes.append(timing.is_sampling)
    _, sampled = timing.wrap(fast("x", work))
    for _ in range(SAMPLE_COMMANDS):
        assert timing.is_sampling
        sampled(session, [b"x"])
    assert changes == [False]
    assert len(timing.usages.by_name[b"x"].durations_ns) == SAMPLE_COMMANDS
    timing.begin_sample()
    assert changes == [False, True]


def test_low_threshold_keeps_everything_wrapped(session: Session) -> None:
    work = Work()
    timing = timing_of(work, "x")
    told = slow_calls(timing)
    _, sampled = timing.wrap(fast("x", work))
    timing.watch_from(BOUNDED_NS - 1)
    for _ in range(3 * SAMPLE_COMMANDS):
        sampled(session, [b"x"])
    assert timing.is_sampling
    assert not told
    timing.watch_from(NEVER_NS)
    for _ in range(SAMPLE_COMMANDS):
        sampled(session, [b"x"])
    assert not timing.is_sampling


def test_slow_is_what_takes_the_threshold_or_longer(session: Session) -> None:
    work = Work()
    timing = timing_of(work, "x")
    told = slow_calls(timing)
    handler, _ = timing.wrap(slow("x", work))
    timing.watch_from(10)
    handler(session, [b"x", b"1"])
    work.lasts_ns = 9
    handler(session, [b"x", b"2"])
    assert told == [([b"x", b"1"], 10)]


def test_many_arguments_make_a_fast_command_one_that_is_measured(session: Session) -> None:
    work = Work()
    timing = timing_of(work, "x")
    usual, _ = timing.wrap(fast("x", work, "key:key?+"))
    usual(session, [b"x"] * (MANY_WORDS - 1))
    assert timing.usages.by_name[b"x"].durations_ns == []
    usual(session, [b"x"] * MANY_WORDS)
    assert timing.usages.by_name[b"x"].durations_ns == [10]


def test_subcommand_is_counted_and_measured_unless_it_is_refused(session: Session) -> None:
    work = Work()
    timing = timing_of(work, "x", "x|a", "x|b")
    told = slow_calls(timing)
    timing.watch_from(0)
    handler, _ = timing.wrap(contained(part("x|a", work, "argument?"), part("x|b", work)))
    handler(session, [b"X", b"A"])
    for refused in ([b"X", b"B", b"too", b"many"], [b"X", b"nosuch"]):
        with pytest.raises(Refusal):
            handler(session, refused)
    work.error = wrong_arity("x|b")
    with pytest.raises(CommandError):
        handler(session, [b"X", b"B"])
    assert {usage.name: usage.calls for usage in timing.usages.by_name.values()} == {"x": 0, "x|a": 1, "x|b": 1}
    assert told == [([b"X", b"A"], 10), ([b"X", b"B"], 10)]


@pytest.mark.parametrize("is_container", [False, True])
def test_command_with_an_effect_has_taken_its_time_when_that_is_carried_out(session: Session, is_container: bool) -> None:
    work = Work()
    work.result = Save()
    timing = timing_of(work, "x", "x|a")
    told = slow_calls(timing)
    timing.watch_from(0)
    if is_container:
        handler, _ = timing.wrap(contained(part("x|a", work)))
    else:
        handler, _ = timing.wrap(slow("x", work))
    usage = timing.usages.by_name[b"x|a" if is_container else b"x"]
    assert handler(session, [b"x", b"a"]) == Save()
    assert (usage.durations_ns, told) == ([], [])
    begun = timing.take_begun()
    assert begun
    assert timing.take_begun() is None, "one effect is one command's"
    work.now_ns += 5000
    timing.took(session, [b"x", b"a"], begun)
    assert usage.durations_ns == [5010]
    assert told == [([b"x", b"a"], 5010)]
    work.error = CommandError("ERR x")
    with pytest.raises(CommandError):
        handler(session, [b"x", b"a"])
    assert usage.durations_ns == [5010, 10]
    assert timing.take_begun() is None


def test_every_table_of_clients_follows() -> None:
    server = Server()
    table, handler = server.table, server.table.commands[b"get"].handler
    tables = (table.open, table.limited)
    wrapped = [runners[b"GET"][0] for runners in tables]
    for _ in range(SAMPLE_COMMANDS):
        run(server.session(), "GET", "k")
    assert all(runners[b"GET"][0] is handler for runners in tables)
    table.timing.begin_sample()
    assert [runners[b"GET"][0] for runners in tables] == wrapped
    assert handler not in wrapped
    assert table.replayed[b"GET"][0] is handler
