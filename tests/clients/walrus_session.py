"""A program that uses walrus, which gives Redis's types the looks of Python's: `python walrus_session.py PORT`.

It prints the version last.
"""

from __future__ import annotations

import datetime
import sys
import threading
from importlib.metadata import version
from typing import Any

from walrus import Database, RateLimitException


def use_hash(database: Any) -> None:
    person = database.Hash("person")
    person.update({"name": "Ada", "born": 1815})
    person["tongue"] = "English"
    assert person["name"] == b"Ada"
    assert person["name", "born", "missing"] == [b"Ada", b"1815", None]
    assert person.get("missing", "none") == "none"
    assert "name" in person
    assert len(person) == 3
    assert sorted(person) == [(b"born", b"1815"), (b"name", b"Ada"), (b"tongue", b"English")]
    assert list(person.search("t*")) == [(b"tongue", b"English")]
    assert sorted(person.keys()) == [b"born", b"name", b"tongue"]
    assert sorted(person.values()) == [b"1815", b"Ada", b"English"]
    assert person.incr("born", 2) == 1817
    assert person.incr_float("height", 1.65) == 1.65
    assert person.setnx("name", "Grace") is False
    del person["height"]
    assert person.as_dict(decode=True) == {"name": "Ada", "born": "1817", "tongue": "English"}
    person.expire(100)
    assert 0 < database.ttl("person") <= 100
    person.expire()
    assert database.ttl("person") == -1
    database.restore("copy", 0, person.dump())
    assert database.get_key("copy").as_dict() == person.as_dict()
    assert repr(person).startswith('<Hash "person": {')
    assert "name" not in person.clear()


def use_list(database: Any) -> None:
    words = database.List("words")
    words.extend(["b", "c", "d"])
    words.append("e")
    words.prepend("a")
    words.insert_before("aa", "b")
    words.insert_after("bb", "b")
    assert words.as_list(decode=True) == ["a", "aa", "b", "bb", "c", "d", "e"]
    assert words[0] == b"a"
    assert words[-1] == b"e"
    assert words[1:3] == [b"aa", b"b"]
    words[0] = "A"
    del words[1]
    del words["bb"]
    assert list(words) == [b"A", b"b", b"c", b"d", b"e"]
    assert len(words) == 5
    assert words.popleft() == b"A"
    assert words.popright() == b"e"
    assert words.move_tail("words") == b"d"
    assert list(words) == [b"d", b"b", b"c"]
    assert words.sort() == [b"b", b"c", b"d"]
    assert words.sort(ordering="DESC", limit=2) == [b"d", b"c"]
    del words[:2]
    assert repr(words) == '<List "words": d, b>'


def use_set(database: Any) -> None:
    odd, small = database.Set("odd"), database.Set("small")
    assert odd.add(1, 3, 5) == 3
    small.add(1, 2, 3)
    assert b"3" in odd
    assert len(small) == 3
    assert odd & small == {b"1", b"3"}
    assert odd | small == {b"1", b"2", b"3", b"5"}
    assert odd - small == {b"5"}
    assert odd.interstore("both", small).members() == {b"1", b"3"}
    assert odd.unionstore("all", small).as_set(decode=True) == {"1", "2", "3", "5"}
    assert odd.diffstore("rest", small).random() == b"5"
    odd |= small
    assert odd.sort(alpha=False, ordering="desc") == [b"5", b"3", b"2", b"1"]
    odd &= small
    assert set(odd) == {b"1", b"2", b"3"}
    del odd[1]
    assert odd.remove(2, 9) == 1
    assert odd.pop() == b"3"
    assert database.type("odd") == b"none"
    small.add("word", "ward")
    assert set(small.search("w?rd", count=100)) == {b"word", b"ward"}


def use_sorted_set(database: Any) -> None:
    ranks = database.ZSet("ranks")
    ranks.add({"a": 1, "b": 2, "c": 3})
    ranks["d"] = 4.5
    assert ranks[:2] == [b"a", b"b"]
    assert ranks["b":"d", True] == [(b"b", 2), (b"c", 3)]
    assert ranks[-1, True] == [(b"d", 4.5)]
    assert "a" in ranks
    assert "z" not in ranks
    assert len(ranks) == 4
    assert sorted(ranks) == [(b"a", 1), (b"b", 2), (b"c", 3), (b"d", 4.5)]
    assert ranks.incr("a", 10) == ranks.score("a") == 11
    assert (ranks.rank("a"), ranks.rank("a", reverse=True)) == (3, 0)
    assert ranks.count(2, 3) == 2
    assert ranks.range(0, 1, with_scores=True, reverse=True) == [(b"a", 11), (b"d", 4.5)]
    assert ranks.range_by_score(2, 5, 1, 2) == [b"c", b"d"]
    assert ranks.range_by_score("(2", "+inf", reverse=True) == [b"a", b"d", b"c"]
    names = database.ZSet("names")
    names.add(dict.fromkeys("abcdef", 0))
    assert names.lex_count("[b", "(e") == 3
    assert names.range_by_lex("(b", "+", 0, 2) == [b"c", b"d"]
    assert names.range_by_lex("-", "[c", reverse=True) == [b"c", b"b", b"a"]
    assert names.remove_by_lex("[e", "+") == 2
    assert names.remove_by_rank(0) == 1
    assert ranks.interstore("both", names).as_items(decode=True) == [("b", 2), ("c", 3), ("d", 4.5)]
    assert ranks.unionstore("all", names, aggregate="MIN").as_items() == [(b"b", 0), (b"c", 0), (b"d", 0), (b"a", 11)]
    assert ranks.remove_by_score(2, 3) == 2
    assert names.popmin() == [(b"b", 0)]
    assert names.popmax(5) == [(b"d", 0), (b"c", 0)]
    del ranks["d"]
    assert ranks.sort() == [b"a"]


def use_others(database: Any) -> None:
    seen, others = database.HyperLogLog("seen"), database.HyperLogLog("others")
    seen.add(*range(100))
    others.add(*range(50, 150))
    assert 97 <= len(seen) <= 103
    assert 145 <= len(seen.merge("merged", others)) <= 155
    bits = database.bit_field("bits")
    bits[0:8] = 200
    assert bits[0:8] == 200
    assert bits.incrby("u8", 0, 100, overflow="SAT").get("u4", 0).execute() == [255, 15]
    assert bits.bit_count() == 8
    bloom = database.bloom_filter("bloom", size=1024)
    bloom.add("Ada")
    assert "Ada" in bloom
    assert "Grace" not in bloom
    counter = database.counter("visits")
    counter += 5
    counter -= 2
    assert counter.value() == 3
    completer = database.autocomplete("names")
    for number, title in enumerate(("Ada Lovelace", "Ada Byron", "Grace Hopper")):
        completer.store(number, title, data=title)
    assert sorted(completer.search("ada")) == ["Ada Byron", "Ada Lovelace"]
    assert list(completer.search("hop")) == ["Grace Hopper"]
    graph = database.graph("kin")
    graph.store("Ada", "likes", "Charles")
    graph.store("Grace", "likes", "Howard")
    assert list(graph.query(p="likes", o="Charles")) == [{"s": "Ada", "p": "likes", "o": "Charles"}]
    index = database.Index("pages")
    index.add("1", "the analytical engine", title="notes")
    index.add("2", "the compiler of engines")
    assert [found["title"] for found in index.search("analytical engine")] == ["notes"]
    limit = database.rate_limit("calls", limit=2, per=100)

    @limit.rate_limited()
    def call() -> int:
        return 1

    assert [call(), call()] == [1, 1]
    try:
        call()
    except RateLimitException:
        pass
    else:
        raise AssertionError("a third call was not refused")


def use_cache(database: Any) -> None:
    cache = database.cache("cache", default_timeout=100)
    cache.set("key", {"name": "Ada"})
    assert cache.get("key") == {"name": "Ada"}
    assert 0 < database.ttl("cache:key") <= 100
    assert cache.set_many({"a": 1, "b": [2]}, timeout=50)
    assert cache.get_many(["a", "b", "missing"]) == {"a": 1, "b": [2]}
    assert sorted(cache.keys(strip_prefix=True)) == ["a", "b", "key"]
    assert cache.delete_many(["a", "b"]) == 2
    calls = []

    @cache.cached(timeout=60)
    def double(number: int) -> int:
        calls.append(number)
        return number * 2

    class Clock:
        @cache.cached_property(key_fn=lambda args, options: "clock")
        def now(self) -> int:
            calls.append(0)
            return 12

    @cache.cache_async()
    def slow() -> str:
        return "done"

    assert [double(2), double(2), double(3)] == [4, 4, 6]
    assert double.bust(2) == 1
    assert double(2) == 4
    assert calls == [2, 3, 2]
    clock = Clock()
    assert [clock.now, clock.now] == [12, 12]
    assert calls == [2, 3, 2, 0]
    assert slow()() == "done"
    assert cache.flush() > 0
    assert len(database) == 0


def use_transactions(database: Any) -> None:
    with database.atomic() as transaction:
        transaction.pipe.set("a", 1)
        transaction.pipe.incr("a")
    assert database["a"] == b"2"
    assert "a" in database
    assert sorted(database) == [b"a"]


def use_array(database: Any) -> None:
    letters = database.Array("letters")
    letters.extend(["a", "b", "c", "d"])
    letters.append("e")
    letters[0] = "A"
    assert letters[0] == b"A"
    assert letters[-1] == b"e"
    assert letters.pop() == b"e"
    assert letters.pop(1) == b"b"
    assert b"c" in letters
    assert letters.as_list(decode=True) == ["A", "c", "d"]
    assert len(letters) == 3


def use_scripts(database: Any) -> None:
    database["token"] = "1:old"
    assert database.cas("token", "1:", "2:new") == 1
    assert database.cas("token", "1:", "3:newer") == 0
    assert database["token"] == b"2:new"
    limit = database.rate_limit_lua("calls", limit=2, per=1000)
    assert [limit.limit("Ada") for _ in range(3)] == [False, False, True]
    lock = database.lock("printer", ttl=100_000, lock_id="first")
    other = database.lock("printer", ttl=100_000, lock_id="second")
    assert lock.acquire()
    assert not other.acquire(block=False)
    waiter = threading.Thread(target=other.acquire)
    waiter.start()
    assert lock.release()
    waiter.join()
    assert not lock.release()
    assert other.release()
    with lock:
        assert not other.acquire(block=False)


def use_blocking(database: Any) -> None:
    words, ranks, others = database.List("words"), database.ZSet("ranks"), database.List("others")
    for first, call, feed in (
        (b"a", words.bpopleft, lambda: words.extend(["a", "b"])),
        (b"b", words.bpopright, lambda: None),
        (b"c", lambda: words.bmove_tail("others"), lambda: words.append("c")),
        (b"c", others.bpopleft, lambda: None),
        ((b"d", 1), ranks.bpopmin, lambda: ranks.add({"d": 1, "e": 2})),
        ((b"e", 2), ranks.bpopmax, lambda: None),
    ):
        found: list[Any] = []
        waiter = threading.Thread(target=lambda call=call, found=found: found.append(call()))
        waiter.start()
        feed()
        waiter.join()
        assert found == [first]
    assert words.bpopleft(timeout=0.001) is None


def use_streams(database: Any) -> None:
    events = database.Stream("events")
    ids = [events.add({"number": str(number)}) for number in range(5)]
    assert len(events) == 5
    assert [id for id, _ in events] == ids
    assert events[ids[1]] == (ids[1], {b"number": b"1"})
    assert [id for id, _ in events[ids[1] : ids[3]]] == ids[1:4]
    assert [id for id, _ in events.revrange(count=2)] == [ids[4], ids[3]]
    assert [id for id, _ in events.read(last_id=ids[2])] == ids[3:]
    del events[ids[0]]
    assert events.trim(3, approximate=False) == 1
    assert events.info()["length"] == 3
    assert events.read(block=1, last_id="$") == []


def use_groups(database: Any) -> None:
    group = database.consumer_group("workers", ["jobs", "mails"])
    assert group.create() == {"jobs": True, "mails": True}
    ids = [group.jobs.add({"number": str(number)}) for number in range(3)]
    mail = group.mails.add({"to": "Ada"})
    assert group.read(count=2) == [
        [b"jobs", [(ids[0], {b"number": b"0"}), (ids[1], {b"number": b"1"})]],
        [b"mails", [(mail, {b"to": b"Ada"})]],
    ]
    assert group.jobs.ack(ids[0]) == 1
    assert [entry["message_id"] for entry in group.jobs.pending()] == [ids[1]]
    second = group.consumer("second")
    assert second.jobs.read() == [(ids[2], {b"number": b"2"})]
    assert second.jobs.claim(ids[1]) == [(ids[1], {b"number": b"1"})]
    assert [entry["consumer"] for entry in group.jobs.pending()] == [b"second"] * 2
    assert group.jobs.autoclaim("workers.c1", 0, justid=True) == [ids[1], ids[2]]
    assert {consumer["name"]: consumer["pending"] for consumer in group.jobs.consumers_info()} == {
        b"second": 0,
        b"workers.c1": 2,
    }
    assert group.jobs.delete_consumer() == 2
    assert group.jobs.groups_info()[0]["pending"] == 0
    waiter = threading.Thread(target=lambda: found.append(second.read(block=0)))
    found: list[Any] = []
    waiter.start()
    last = group.jobs.add({"number": "last"})
    waiter.join()
    assert found == [[[b"jobs", [(last, {b"number": b"last"})]]]]
    assert group.set_id() == {"jobs": True, "mails": True}
    assert group.destroy() == {"jobs": 1, "mails": 1}
    series = database.time_series("series", ["weather"])
    series.create()
    moments = [datetime.datetime(2026, 1, day) for day in (1, 2, 3)]
    for moment in moments:
        series.weather.add({"degrees": str(moment.day)}, id=moment)
    assert [message.timestamp for message in series.read()] == moments
    assert [message.data for message in series.weather[moments[1] :]] == [{"degrees": "2"}, {"degrees": "3"}]


NEWER = (use_array, use_scripts, use_blocking, use_streams, use_groups)


def main(port: int) -> None:
    with Database(port=port, db=3) as database:
        for use in (use_hash, use_list, use_set, use_sorted_set, use_others, use_cache, use_transactions, *NEWER):
            database.flushall()
            use(database)
    print(version("walrus"))


if __name__ == "__main__":
    main(int(sys.argv[1]))
