"""Calls are counted exactly however they are spelled; times are extrapolated from what was measured."""

from __future__ import annotations

import random

import pytest

from kvserver.errors import CommandError, Refusal
from kvserver.state.usage import FREQUENT, Usage, Usages, _bucket, _bucket_end_ns

NAMES = ["config", "config|get", "config|set", "get", "mget", "ping", "set"]


def calls(usages: Usages) -> dict[str, int]:
    usages.fold_all()
    return {usage.name: usage.calls for usage in usages.by_name.values() if usage.calls}


def test_every_spelling_is_counted() -> None:
    usages = Usages(NAMES)
    usages.executed += [b"GET", b"get", b"Get", b"SET", b"PING"]
    assert calls(usages) == {"get": 3, "set": 1, "ping": 1}
    assert usages.executed == []


@pytest.mark.parametrize("seed", range(20))
def test_no_call_is_lost_or_counted_twice_whatever_is_frequent(seed: int) -> None:
    dice = random.Random(seed)
    usages = Usages(NAMES)
    executed = usages.executed
    expected: dict[str, int] = {}
    for _ in range(30):
        spelled = dice.sample([b"GET", b"get", b"SET", b"PING", b"MGET", b"unknown", b""], dice.randint(1, FREQUENT + 2))
        names = dice.choices(spelled, k=dice.randint(0, 50))
        executed += names
        for name in names:
            if name not in (b"", b"unknown"):
                expected[name.decode().lower()] = expected.get(name.decode().lower(), 0) + 1
        usages.fold()
    assert calls(usages) == expected, f"seed {seed}"


def test_name_of_a_container_is_no_call_of_anything() -> None:
    usages = Usages(NAMES)
    usages.executed += [b"CONFIG", b"config"]
    assert calls(usages) == {}


def test_failed_call_is_a_call_and_a_refused_one_is_none() -> None:
    usages = Usages(NAMES)
    failing, refused, unknown = [b"GET", b"k"], [b"GET"], [b"NOSUCH", b"x"]
    usages.fail(failing, CommandError("WRONGTYPE x"))
    usages.fail(refused, Refusal("ERR wrong number"))
    usages.fail(unknown, Refusal("ERR unknown"))
    assert (refused, unknown) == ([b"GET"], [b"NOSUCH", b"x"]), "what is counted stays as it was sent"
    usages.executed += [failing[0], refused[0], unknown[0]]
    assert calls(usages) == {"get": 1}
    usage = usages.by_name[b"get"]
    assert (usage.failed, usage.rejected) == (1, 1)


def test_call_that_is_taken_back_is_none_wherever_its_name_is_counted() -> None:
    usages = Usages(NAMES)
    usages.executed += [b"GET", b"gEt", b"CONFIG", b"NOSUCH"]
    for words in ([b"Get", b"k"], [b"CONFIG", b"GET", b"x"], [b"config"], [b"NOSUCH"]):
        usages.take_back(words)
    assert calls(usages) == {"get": 1}


def test_all_that_came_before_the_request_that_runs_is_counted_and_once() -> None:
    usages = Usages(NAMES)
    usages.batch = [[name] for name in (b"GET", b"SET", b"PING", b"GET", b"MGET")]
    usages.remaining = iter(usages.batch)
    seen = []
    for _ in usages.batch:
        next(usages.remaining)
        seen.append([*calls(usages).values()])
    assert seen == [[], [1], [1, 1], [1, 1, 1], [2, 1, 1]]
    assert usages.noted == 4, "the last one runs"


def test_subcommand_is_found_in_any_case() -> None:
    usages = Usages(NAMES)
    usages.fail([b"Config", b"gEt", b"x"], CommandError("ERR x"))
    usages.fail([b"CONFIG", b"nosuch"], Refusal("ERR x"))
    usages.fail([b"GET", b"set"], CommandError("ERR x"))
    assert {usage.name: usage.failed for usage in usages.by_name.values() if usage.failed} == {"config|get": 1, "get": 1}


def test_errors_are_counted_by_their_first_word() -> None:
    usages = Usages(NAMES)
    for text in ("ERR a", "ERR b", "WRONGTYPE c", "LONELY"):
        usages.count_error(text)
    assert usages.errors == {"ERR": 2, "WRONGTYPE": 1, "LONELY": 1}


def test_times_of_all_calls_are_extrapolated_from_those_that_were_measured() -> None:
    usage = Usage("get")
    usage.calls = 100
    usage.durations_ns += [1000, 3000]
    usage.fold()
    assert (usage.timed, usage.usec) == (2, 200)


def test_times_that_were_all_measured_are_exact() -> None:
    usage = Usage("get")
    usage.calls = 2
    usage.durations_ns += [1_000_000, 3_000_000]
    usage.fold()
    assert usage.usec == 4000


def test_without_a_measurement_there_is_no_time() -> None:
    usage = Usage("get")
    usage.calls = 5
    assert (usage.usec, usage.percentile_us(99), usage.distribution()) == (0, 0.0, {})


def test_buckets_follow_each_other_and_hold_what_they_say() -> None:
    previous_end = -1
    for bucket in range(300):
        end = _bucket_end_ns(bucket)
        assert _bucket(end) == bucket
        assert _bucket(previous_end + 1) == bucket
        previous_end = end


def test_percentiles_are_within_an_eighth() -> None:
    usage = Usage("get")
    usage.durations_ns += [number * 1000 for number in range(1, 1001)]
    usage.fold()
    for percent in (1, 50, 99, 99.9, 100):
        assert 10 * percent <= usage.percentile_us(percent) * 1.001 <= 10 * percent * 1.126


def test_distribution_grows_to_the_exact_number_of_calls() -> None:
    usage = Usage("get")
    usage.calls = 1000
    usage.durations_ns += [500, 900, 1500, 1500, 70_000]
    usage.fold()
    assert usage.distribution() == {1: 400, 2: 800, 128: 1000}


def test_reset_forgets_all_but_the_names() -> None:
    usages = Usages(NAMES)
    usages.executed += [b"GET"]
    usages.fold_all()
    usages.executed += [b"GET"]
    usages.count_error("ERR x")
    usages.fail([b"GET"], CommandError("x"))
    usages.reset()
    assert calls(usages) == {}
    assert not usages.errors
    assert not any(usage.failed for usage in usages.by_name.values())
