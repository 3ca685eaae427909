"""Whoever asks for notifications hears what happens to keys, in Redis's order (wire/test_notifications: as Redis tells it)."""

from __future__ import annotations

import pytest

from helpers.servers import parse
from helpers.sessions import Server, run
from kvserver.dispatch.effect import Effect, Notified
from kvserver.resp.reply import Error, Reply
from kvserver.state.channels import Message
from kvserver.state.session import REPLAY_ID, Session

# A subscriber's message is `pmessage __key* channel text`.
CHANNEL, TEXT = 2, 3


class Heard:
    """A server that sends notifications of these classes, a client of it, and what a subscriber hears."""

    def __init__(self, server: Server, classes: str = "g$lshzxetdnEm") -> None:
        self.server = server
        self.client, self.subscriber = server.session(), server.session()
        run(self.subscriber, "PSUBSCRIBE", "__key*")
        server.state.notifications.configure(classes)

    def of(self, *words: bytes | str | int) -> str:
        """What is heard of a call: events and keys, or channels and texts."""
        return self.in_result(run(self.client, *words))

    def in_result(self, result: Reply | Effect) -> str:
        return self._told(result.deliveries) if isinstance(result, Notified) else ""

    def by_itself(self) -> str:
        return self._told(self.server.state.notifications.take())

    def _told(self, deliveries: list[tuple[Session, Message]]) -> str:
        assert all(receiver is self.subscriber for receiver, _ in deliveries)
        pushes = [parse(message.wire(2)) for _, message in deliveries]
        told = [b"%b %b" % (push[CHANNEL].removeprefix(b"__keyevent@0__:"), push[TEXT]) for push in pushes]
        return ", ".join(each.decode() for each in told)


@pytest.fixture
def heard(server: Server) -> Heard:
    return Heard(server)


def test_replay_notes_nothing_and_what_it_recorded_is_not_told(server: Server) -> None:
    notifications = server.state.notifications
    notifications.configure("KEAn")
    journal = Session(server.state, REPLAY_ID, "journal", "journal", is_local=True)
    for number in range(10):
        run(journal, "SADD", number, "a")
        server.keyspace.put(b"alike%d" % number, b"v")
    assert not notifications._notes.is_open
    assert not notifications._notes.made
    server.state.databases.records.take()
    heard = Heard(server, "g$E")
    server.keyspace.put(b"taken", b"v")
    server.state.databases.records.take()
    assert heard.of("SET", "k", "v") == "set k"


def test_keyspace_message_comes_before_the_one_of_the_event(server: Server) -> None:
    heard = Heard(server, "g$KE")
    assert heard.of("SET", "k", "v", "EX", "9") == "__keyspace@0__:k set, set k, __keyspace@0__:k expire, expire k"


@pytest.mark.parametrize(
    ("classes", "told"),
    [("K$", "__keyspace@0__:k set"), ("E$", "set k"), ("Eg", "expire k"), ("El", ""), ("g$", ""), ("KE", "")],
)
def test_only_the_classes_and_channels_that_were_asked_for_are_told(server: Server, classes: str, told: str) -> None:
    assert Heard(server, classes).of("SET", "k", "v", "EX", "9") == told


# Redis 7.0 has no such commands to compare with. Names and order are those of Redis 7.4 and RedisJSON.
def test_hash_whose_fields_expire(heard: Heard) -> None:
    heard.of("HSET", "h", "a", "1", "b", "2", "c", "3")
    assert heard.of("HPEXPIRE", "h", "10", "FIELDS", "2", "a", "b") == "hexpire h"
    assert heard.of("HPERSIST", "h", "FIELDS", "1", "a") == "hpersist h"
    assert heard.of("HPERSIST", "h", "FIELDS", "1", "a") == ""
    assert heard.of("HPEXPIREAT", "h", "1", "FIELDS", "1", "c") == "hdel h"
    assert heard.of("HINCRBYFLOAT", "h", "b", "1") == "hincrbyfloat h"
    heard.server.clock.now_ms += 10
    assert heard.of("HSETNX", "h", "b", "2") == "hexpired h, hset h"
    assert heard.of("hdel", "h", "a", "b") == "hdel h, del h"
    heard.of("HSET", "h", "a", "1", "b", "2")
    heard.of("HPEXPIRE", "h", "10", "FIELDS", "2", "a", "b")
    heard.server.clock.now_ms += 10
    assert heard.of("HDEL", "h", "a") == "hexpired h, del h"
    heard.of("HSET", "h", "a", "1")
    heard.of("HPEXPIRE", "h", "10", "FIELDS", "1", "a")
    heard.server.clock.now_ms += 10
    heard.server.keyspace.sweep()
    assert heard.by_itself() == "hexpired h, del h"
    heard.of("HSET", "h", "a", "1")
    assert heard.of("HEXPIRE", "h", "0", "FIELDS", "1", "a") == "hdel h, del h"


def test_documents(heard: Heard) -> None:
    assert heard.of("JSON.SET", "j", "$", "1") == "new j, json.set j"
    assert heard.of("INCR", "j") == "incrby j"
    assert heard.of("EXPIRE", "j", "9") == "expire j"
    assert heard.of("INCR", "j") == "incrby j"
    assert heard.of("JSON.DEL", "j") == "json.del j"
    assert heard.of("JSON.DEL", "j") == ""
    heard.of("JSON.SET", "j", "$", "[]")
    assert heard.of("JSON.FORGET", "j") == "json.del j"


def test_key_that_expires_is_told_of_once_however_it_goes(heard: Heard) -> None:
    for call, told in [
        (("GET", "k"), "expired k, keymiss k"),
        (("SET", "k", "w"), "expired k, new k, set k"),
        (("DEL", "k"), "expired k"),
        (("SINTERSTORE", "k", "s"), "keymiss none, expired k, new k, sinterstore k"),
        (("MSET", "a", "1", "k", "2"), "new a, set a, expired k, new k, set k"),
        (("COPY", "s", "k", "REPLACE"), "expired k, new k, copy_to k"),
    ]:
        heard.of("FLUSHALL")
        heard.of("SADD", "s", "m")
        heard.of("SET", "k", "v", "PX", "10")
        heard.server.clock.now_ms += 10
        assert heard.of(*call) == told.replace("keymiss none, ", ""), call
    heard.of("SET", "k", "v", "PX", "10")
    heard.server.clock.now_ms += 10
    heard.server.keyspace.sweep()
    assert heard.by_itself() == "expired k"
    assert heard.by_itself() == ""


def test_keys_that_are_evicted_for_a_command_come_before_its_own_events(heard: Heard) -> None:
    config, memory = heard.server.state.config, heard.server.state.memory
    heard.of("SET", "k", "v" * 100_000)
    config.maxmemory, config.maxmemory_policy = 70_000, "allkeys-random"
    memory.configure()
    while memory.is_unmeasured:
        memory.measure()
    assert heard.of("SET", "l", "w") == "evicted k, new l, set l"
    heard.of("SET", "k", "v" * 100_000)
    heard.server.random.seed(1)
    while memory.is_over and memory.make_room():
        pass
    assert "evicted k" in heard.by_itself()


def test_what_was_done_before_an_error_is_told(heard: Heard) -> None:
    heard.of("SET", "k", "v", "PX", "10")
    heard.of("RPUSH", "l", "a")
    heard.server.clock.now_ms += 10
    result = run(heard.client, "SUNION", "k", "none", "l")
    assert isinstance(result, Notified)
    assert "WRONGTYPE" in str(result.result)
    assert heard.in_result(result) == "expired k, keymiss k, keymiss none"


def test_nothing_is_told_without_a_subscriber_or_of_what_happened_before(server: Server) -> None:
    heard = Heard(server, "")
    assert heard.of("SET", "k", "v") == ""
    server.state.notifications.configure("g$KE")
    run(heard.subscriber, "PUNSUBSCRIBE")
    assert not isinstance(run(heard.client, "SET", "l", "v"), Notified)
    run(heard.subscriber, "PSUBSCRIBE", "__key*")
    assert heard.of("GET", "k") == ""


def test_error_without_events_is_an_error(heard: Heard) -> None:
    heard.of("SET", "k", "v")
    assert isinstance(run(heard.client, "LPUSH", "k", "v"), Error)


def test_messages_have_the_number_of_the_database(server: Server) -> None:
    heard = Heard(server, "g$xnE")
    heard.of("SET", "k", "v", "PX", "10")
    assert heard.of("COPY", "k", "k", "DB", "2") == "__keyevent@2__:new k, __keyevent@2__:copy_to k"
    assert heard.of("MOVE", "k", "1") == "__keyevent@1__:new k, move_from k, __keyevent@1__:move_to k"
    heard.of("SELECT", "1")
    assert heard.of("APPEND", "k", "w") == "__keyevent@1__:append k"
    heard.of("SWAPDB", "1", "3")
    server.clock.now_ms += 10
    assert heard.of("GET", "k") == ""
    heard.of("SELECT", "3")
    assert heard.of("GET", "k") == "__keyevent@3__:expired k"
    assert heard.of("SELECT", "2") == ""
    assert heard.of("MOVE", "k", "1") == "__keyevent@2__:expired k"
