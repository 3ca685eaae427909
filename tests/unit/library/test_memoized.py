"""A memoized function computes once for all who ask, keeps what it returns and nothing else, and stays typed."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, assert_type

import pytest

import kvserver
from kvserver import Cache, CodecError, aio
from kvserver.library import memoized as memoized_module

calls: list[Any] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


@pytest.fixture
def cache() -> Cache[Any]:
    return Cache()


def add(a: int, b: int = 2) -> int:
    calls.append((a, b))
    return a + b


def test_result_is_computed_once_for_a_call_however_it_is_said(cache: Cache[Any]) -> None:
    memoized = cache.memoize(add)
    assert [memoized(1), memoized(1, 2), memoized(a=1), memoized(b=2, a=1)] == [3] * 4
    assert memoized(2) == 4
    assert calls == [(1, 2), (2, 2)]
    assert cache.stats() == (3, 2, 0)
    assert list(cache) == sorted(cache, key=list(cache).index)
    assert set(cache) == {memoized.cache_key(1), memoized.cache_key(2)}
    assert memoized.cache_key(1) == f'{__name__}.add:{{"a":1,"b":2}}'


def test_function_is_still_there_and_looks_the_same(cache: Cache[Any]) -> None:
    memoized = cache.memoize(ttl=60)(add)
    assert memoized.__wrapped__ is add
    assert (memoized.__name__, memoized.__doc__, memoized.__module__) == ("add", None, __name__)  # type: ignore[attr-defined]
    assert cache.ttl(memoized.cache_key(1)) is None
    memoized(1)
    assert 59 < (cache.ttl(memoized.cache_key(1)) or 0) <= 60


def test_forgotten_result_is_computed_again(cache: Cache[Any]) -> None:
    memoized = cache.memoize(add)
    memoized(1)
    assert memoized.forget(a=1) is True
    assert memoized.forget(1) is False
    memoized(1)
    assert calls == [(1, 2), (1, 2)]


def test_none_is_kept_and_an_exception_is_not(cache: Cache[Any]) -> None:
    @cache.memoize
    def nothing(fails: bool) -> None:
        calls.append(fails)
        if fails:
            raise LookupError

    nothing(False)
    nothing(False)
    for _ in range(2):
        with pytest.raises(LookupError):
            nothing(True)
    assert calls == [False, True, True]


def test_result_is_what_the_codec_gives_at_the_first_call_as_well(cache: Cache[Any]) -> None:
    @cache.memoize
    def pair() -> Any:
        return (1, 2)

    assert pair() == pair() == [1, 2]
    pair().append(3)
    assert pair() == [1, 2]


def test_result_that_can_not_be_kept_is_an_error_at_every_call(cache: Cache[Any]) -> None:
    @cache.memoize
    def unkept() -> Any:
        return object()

    for _ in range(2):
        with pytest.raises(TypeError):
            unkept()


@pytest.mark.parametrize("options", [{"size_limit": 100}, {"size_limit": 200, "policy": "noeviction"}])
def test_result_for_which_there_is_no_room_is_returned_all_the_same(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "kvserver")
    full: Cache[int] = Cache(**options)
    if "policy" in options:
        full.set("k", 1)
    memoized = full.memoize(add)
    assert [memoized(1), memoized(1)] == [3, 3]
    assert calls == [(1, 2)] * 2
    assert "not kept" in caplog.text


def test_result_that_is_not_kept_is_there_for_all_who_wait() -> None:
    full: Cache[int] = Cache(size_limit=100)
    computing, may_end = threading.Event(), threading.Event()

    @full.memoize
    def slow() -> int:
        calls.append(1)
        computing.set()
        may_end.wait(30)
        return 7

    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(slow())) for _ in range(3)]
    threads[0].start()
    computing.wait(30)
    for thread in threads[1:]:
        thread.start()
    may_end.set()
    for thread in threads:
        thread.join()
    assert results == [7] * 3


def test_result_that_can_not_be_decoded_any_more_is_computed_anew() -> None:
    class Digits:
        def encode(self, value: int) -> bytes:
            return b"%d" % value

        def decode(self, data: bytes) -> int:
            return int(data)

    cache: Cache[int] = Cache(codec=Digits())
    memoized = cache.memoize(add)
    assert memoized(1) == 3
    cache._keyspace.set(memoized.cache_key(1).encode(), b"of another codec")
    assert [memoized(1), memoized(1)] == [3, 3]
    assert calls == [(1, 2)] * 2


def test_functions_made_by_a_function_are_told_apart_by_its_variables(cache: Cache[Any]) -> None:
    def make(n: Any) -> Callable[[int], Any]:
        @cache.memoize
        def times(x: int) -> Any:
            return x * n

        return times

    assert [make(2)(10), make(3)(10), make(2)(10)] == [20, 30, 20]
    assert cache.stats().hits == 1
    cache.clear()
    # What is no scalar tells nothing.
    assert [make([1])(2), make([5])(2)] == [[1, 1]] * 2


def test_name_stands_in_the_place_of_that_of_the_function(cache: Cache[Any]) -> None:
    square: Any = cache.memoize(name="square", ttl=60)(lambda x: x * x)
    assert square(3) == 9
    assert list(cache) == ['square:{"x":3}']
    for wrong in ("", 5):
        with pytest.raises(ValueError, match="name"):
            cache.memoize(name=wrong)(add)  # type: ignore[arg-type]


def test_result_is_there_in_the_next_process(tmp_path: Path) -> None:
    program = f"""
import kvserver
with kvserver.Cache({str(tmp_path)!r}) as cache:
    @cache.memoize
    def slow(n):
        print("computed")
        return n
    print(slow(1))
"""
    runs = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True) for _ in range(2)]
    assert [run.stdout.split() for run in runs] == [["computed", "1"], ["1"]]


# --- Methods ---


class User:
    def __init__(self, number: int) -> None:
        self.number = number


def test_method_is_memoized_by_what_its_key_takes_of_the_instance(cache: Cache[Any]) -> None:
    class Users:
        def __init__(self, team: str) -> None:
            self.team = team

        @cache.memoize(key=lambda self, number=0: [self.team, number])
        def name(self, number: int = 0) -> str:
            calls.append(number)
            return f"{self.team}{number}"

    a, b = Users("a"), Users("b")
    assert [a.name(1), a.name(number=1), b.name(1), Users("a").name(1), a.name()] == ["a1", "a1", "b1", "a1", "a0"]
    assert calls == [1, 1, 0]
    assert a.name.cache_key(1) == Users.name.cache_key(a, 1)
    assert a.name.forget(1) is True
    assert a.name.__wrapped__(7) == "a7"


def test_method_without_a_key_says_what_to_do(cache: Cache[Any]) -> None:
    class Users:
        @cache.memoize
        def name(self, number: int) -> int:
            return number

    with pytest.raises(TypeError, match=r"Users\.name can't be memoized .* `key=`"):
        Users().name(1)


# --- What is no function to memoize ---


def test_coroutine_function_is_for_the_other_memoize(cache: Cache[Any]) -> None:
    async def coroutine() -> None: ...

    with pytest.raises(TypeError, match=r"coroutine .* is a coroutine function: .*aio"):
        cache.memoize(coroutine)


def test_ttl_in_the_place_of_the_function_is_told(cache: Cache[Any]) -> None:
    with pytest.raises(TypeError, match="by their names"):
        cache.memoize(60)  # type: ignore[call-overload]


# --- Threads ---


def in_threads(count: int, call: Callable[[], Any]) -> list[Any]:
    """What a call gives in so many threads, or raises."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class Gate:
    """A function that waits in its first call until all others ask, too."""

    def __init__(self, cache: Cache[Any], others: int, monkeypatch: pytest.MonkeyPatch) -> None:
        all_wait = threading.Barrier(others + 1)

        class Event(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                all_wait.wait(10)
                return super().wait(timeout)

        class Flight(memoized_module._Flight):
            def __init__(self) -> None:
                super().__init__()
                self.ended = Event()

        monkeypatch.setattr(memoized_module, "_Flight", Flight)
        self.failure: BaseException | None = None

        @cache.memoize
        def function() -> dict[str, int]:
            calls.append(1)
            if len(calls) == 1:
                all_wait.wait(10)
                if self.failure:
                    raise self.failure
            return {"n": 1}

        self.function = function


def test_many_threads_share_one_computation_and_each_has_a_copy(cache: Cache[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    results = in_threads(8, Gate(cache, 7, monkeypatch).function)
    assert results == [{"n": 1}] * 8
    assert calls == [1]
    assert len(set(map(id, results))) == 8


def test_threads_that_wait_for_a_call_that_fails_get_its_exception(cache: Cache[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(cache, 3, monkeypatch)
    gate.failure = LookupError("gone")
    results = in_threads(4, gate.function)
    assert [type(result) for result in results] == [LookupError] * 4
    assert calls == [1]
    monkeypatch.undo()
    assert gate.function() == {"n": 1}


def test_interrupted_computation_is_taken_over(cache: Cache[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(cache, 1, monkeypatch)
    gate.failure = KeyboardInterrupt()
    results = in_threads(2, gate.function)
    assert {type(result) for result in results} == {KeyboardInterrupt, dict}
    assert calls == [1, 1]


def test_result_that_came_since_the_first_look_is_not_computed_again() -> None:
    class Late(Cache[int]):
        def get(self, key: str, default: Any = None) -> Any:
            # Another thread comes to its end here.
            self.set(key, 7)
            return default

    assert Late().memoize(add)(1) == 7
    assert calls == []


def test_function_that_calls_itself_alike_does_not_wait_for_itself(cache: Cache[Any]) -> None:
    @cache.memoize
    def twice(number: int) -> int:
        calls.append(number)
        return twice(number) if len(calls) < 3 else number

    assert twice(1) == 1
    assert len(calls) == 3


def test_recursion_keeps_each_result(cache: Cache[Any]) -> None:
    @cache.memoize
    def fibonacci(number: int) -> int:
        calls.append(number)
        return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)

    assert fibonacci(50) == 12586269025
    assert len(calls) == 51


def test_failure_leaves_nothing_behind(cache: Cache[Any]) -> None:
    class Thing: ...

    things: list[weakref.ref[Thing]] = []

    @cache.memoize
    def failing() -> None:
        thing = Thing()
        things.append(weakref.ref(thing))
        raise LookupError

    gc.disable()
    try:
        with pytest.raises(LookupError):
            failing()
        sys.last_value = None
        assert things[0]() is None
    finally:
        gc.enable()


# --- Types ---


def test_types_of_a_memoized_function_are_its_own(cache: Cache[Any]) -> None:
    """The type checker says so: it has nothing to ignore where a call is right."""

    class Users:
        @cache.memoize(key=lambda self, number: number)
        def name(self, number: int) -> str:
            return str(number)

    memoized = cache.memoize(ttl=60)(add)
    assert_type(memoized(1, b=3), int)
    assert_type(kvserver.memoize(add)(1), int)
    assert_type(Users().name(1), str)
    assert_type(memoized.forget(1), bool)
    assert_type(memoized.cache_key(1), str)
    with pytest.raises(TypeError):
        memoized()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        memoized(1, c=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        memoized("x")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        memoized.cache_key(1, c=2)  # type: ignore[call-arg]
    Users().name("x")  # type: ignore[arg-type]
    numbers: Cache[int] = Cache()
    numbers.set("k", "text")  # type: ignore[arg-type]


def test_types_of_a_cache_are_known_without_a_word(tmp_path: Path) -> None:
    class Digits:
        def encode(self, value: int) -> bytes:
            return b"%d" % value

        def decode(self, data: bytes) -> int:
            return int(data)

    class Holder:
        def __init__(self) -> None:
            self.cache = Cache()
            self.later = aio.Cache(ttl=60)

    cache = Cache()
    cache.set("a", {"b": 1})
    assert_type(cache, Cache[Any])
    assert_type(Holder().cache, Cache[Any])
    assert_type(Holder().later, aio.Cache[Any])
    assert_type(Cache(codec=Digits()), Cache[int])
    assert_type(aio.Cache(codec=Digits()), aio.Cache[int])
    with Cache(tmp_path) as opened:
        opened["a"] = 1
        assert_type(opened, Cache[Any])
    with pytest.raises(CodecError):
        Cache(codec=Digits()).set("a", "text")  # type: ignore[arg-type]
