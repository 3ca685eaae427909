"""Prefixes and written keys: each key comes under all prefixes that it has, and a look-up costs no more with more of them."""

from __future__ import annotations

import random
from typing import Any

from kvserver.state.prefixes import Prefixes


def told(prefixes: Prefixes[str]) -> list[tuple[list[str], list[bytes]]]:
    return [(clients, [key for key, _ in written]) for clients, written in prefixes.take()]


def test_key_is_told_under_each_prefix_in_the_order_of_names() -> None:
    prefixes = Prefixes[str]()
    for prefix, client in ((b"b", "one"), (b"a", "one"), (b"", "all"), (b"ab", "two"), (b"a", "two"), (b"abcdef", "three")):
        prefixes.add(prefix, client)
    assert len(prefixes) == 5
    assert not prefixes.has_news
    for key in (b"abc", b"b", b"", b"a", b"xab", b"a"):
        prefixes.note(key, None)
    assert prefixes.has_news
    assert told(prefixes) == [
        (["all"], [b"", b"a", b"abc", b"b", b"xab"]),
        (["one", "two"], [b"a", b"abc"]),
        (["two"], [b"abc"]),
        (["one"], [b"b"]),
    ]
    assert not prefixes.has_news
    assert told(prefixes) == []


def test_last_writer_of_a_key_is_known() -> None:
    prefixes = Prefixes[str]()
    prefixes.add(b"k", "one")
    for writer in ("one", None, "two"):
        prefixes.note(b"k", writer)
    assert prefixes.take() == [(["one"], [(b"k", "two")])]


def test_prefix_that_nobody_is_told_of_is_gone_with_what_was_written() -> None:
    prefixes = Prefixes[str]()
    for client in ("one", "two"):
        prefixes.add(b"k", client)
    prefixes.note(b"k", None)
    prefixes.remove(b"k", "one")
    assert (len(prefixes), prefixes.has_news) == (1, True)
    prefixes.remove(b"k", "two")
    assert (len(prefixes), prefixes.has_news) == (0, False)
    prefixes.add(b"k", "three")
    assert told(prefixes) == []


class CountedKey(bytes):
    """A key that counts how often a part of it is looked at."""

    looks = 0

    def __getitem__(self, place: Any) -> Any:
        CountedKey.looks += 1
        return super().__getitem__(place)

    def startswith(self, *words: Any) -> bool:
        CountedKey.looks += 1
        return super().startswith(*words)


def test_look_up_costs_one_look_for_each_length() -> None:
    prefixes = Prefixes[str]()
    for number in range(1_000, 3_000):
        prefixes.add(b"%d:" % number, "one")
        prefixes.add(b"long-%d:" % number, "two")
    CountedKey.looks = 0
    prefixes.note(CountedKey(b"2222:k"), None)
    assert CountedKey.looks == 2
    assert told(prefixes) == [(["one"], [b"2222:k"])]


def test_random_keys_come_under_the_prefixes_that_they_begin_with() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)

    def word(most: int) -> bytes:
        return bytes(rng.choices(b"ab", k=rng.randrange(most)))

    for _ in range(50):
        prefixes = Prefixes[str]()
        words = {word(5) for _ in range(rng.randrange(8))}
        for prefix in words:
            prefixes.add(prefix, "one")
        for prefix in sorted(words)[::3]:
            prefixes.remove(prefix, "one")
            words.remove(prefix)
        keys = {word(7) for _ in range(rng.randrange(9))}
        for key in keys:
            prefixes.note(key, None)
        expected = [(["one"], sorted(key for key in keys if key.startswith(prefix))) for prefix in sorted(words)]
        assert told(prefixes) == [each for each in expected if each[1]]
