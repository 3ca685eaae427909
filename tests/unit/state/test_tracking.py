"""Those who may hold a key are told of a write, once and in order, and nothing is kept for those who are gone."""

from __future__ import annotations

import random
from typing import Any

import pytest

from helpers.sessions import Server, run
from kvserver.data.shards import new_shards
from kvserver.dispatch.effect import Tracked
from kvserver.resp.reply import encode
from kvserver.state.readers import KEYS_A_STEP
from kvserver.state.session import Session
from kvserver.state.tracking import MOST_GONE, TOLD_A_STEP, Mode

Told = list[tuple[int, Any]]


def pushed(session: Session, *words: str | int) -> tuple[Told, Told]:
    """Run a command as the engine does. Who is told of which keys before its reply and behind it, by the id and the wire."""
    tracking = session.server.tracking
    result = run(session, *words)
    before, behind = [], []
    if type(result) is Tracked:
        before = tracking.take()
        tracking.end(session, [str(word).encode() for word in words], in_transaction=False)
        behind = tracking.take_own(session, session.tracker)
    return shown(before), shown(behind)


def shown(deliveries: list[tuple[Session, Any]]) -> Told:
    return [(client.id, message.wire(client.protocol)) for client, message in deliveries]


def of(*keys: str) -> bytes:
    return b">2\r\n$10\r\ninvalidate\r\n" + encode([key.encode() for key in keys], 3)


ALL = b">2\r\n$10\r\ninvalidate\r\n_\r\n"


@pytest.fixture
def server() -> Server:
    return Server()


PLAIN = Mode()


def tracking_client(server: Server, mode: Mode = PLAIN, prefixes: tuple[bytes, ...] = ()) -> Session:
    session = server.session()
    session.protocol = 3
    server.state.tracking.enable(session, mode, list(prefixes))
    return session


def told(server: Server) -> Told:
    """Who is told at the end of a tick."""
    woken: list[None] = []
    server.state.tracking.wake = lambda: woken.append(None)
    server.keyspace.records.take()
    found = shown(server.state.tracking.take_all())
    assert bool(woken) == bool(found), "nobody would send this"
    return found


def test_key_that_was_read_is_told_once(server: Server) -> None:
    client, other = tracking_client(server), server.session()
    run(client, "GET", "k")
    run(client, "MGET", "k", "l")
    assert (server.state.tracking.key_count, server.state.tracking.item_count) == (2, 2)
    run(other, "SET", "k", 1)
    run(other, "SET", "k", 2)
    run(other, "SET", "m", 2)
    assert told(server) == [(client.id, of("k"))]
    assert (server.state.tracking.key_count, server.state.tracking.item_count) == (1, 1)
    run(other, "DEL", "k")
    assert told(server) == []


def test_what_was_written_before_a_read_is_told_before_its_reply_and_never_behind_it(server: Server) -> None:
    client, other = tracking_client(server), server.session()
    run(client, "GET", "k")
    run(other, "SET", "k", 1)
    assert pushed(client, "GET", "k") == ([(client.id, of("k"))], [])
    assert told(server) == []
    run(other, "SET", "k", 2)
    assert told(server) == [(client.id, of("k"))]


@pytest.mark.parametrize("words", [("SET", "k", 1), ("FLUSHALL",)], ids=str)
def test_what_was_written_before_a_client_tracks_is_not_told_to_it(server: Server, words: tuple[str | int, ...]) -> None:
    first = tracking_client(server, Mode(broadcasts=True), (b"",))
    run(server.session(), *words)
    tracking_client(server)
    assert [number for number, _ in told(server)] == [first.id]


def test_what_a_client_does_itself_is_told_behind_its_reply(server: Server) -> None:
    client, other = tracking_client(server), tracking_client(server)
    for each in client, other:
        run(each, "GET", "k")
    assert pushed(client, "SET", "k", 1) == ([], [(client.id, of("k"))])
    assert told(server) == [(other.id, of("k"))]


def test_one_that_wants_nothing_of_its_own_is_not_told(server: Server) -> None:
    client, other = tracking_client(server, Mode(skips_own=True)), server.session()
    run(client, "GET", "k")
    assert pushed(client, "SET", "k", 1) == ([], [])
    run(client, "GET", "k")
    run(other, "SET", "k", 1)
    assert told(server) == [(client.id, of("k"))]
    run(client, "SET", "k", 1, "PX", 1)
    run(client, "GET", "k")
    server.clock.now_ms += 2
    # That its time had come is nothing that the client has done.
    assert pushed(client, "EXISTS", "k") == ([], [(client.id, of("k"))])


def test_prefixes_are_told_together_at_the_end_of_a_tick(server: Server) -> None:
    mode = Mode(broadcasts=True)
    client, all_of = tracking_client(server, mode, (b"b:", b"a:")), tracking_client(server, mode, (b"",))
    other = tracking_client(server, mode._replace(skips_own=True), (b"a:",))
    assert server.state.tracking.prefix_count == 3
    for key in ("b:2", "a:2", "b:1", "x", "a:2"):
        run(server.session(), "SET", key, 1)
    pushed(other, "SET", "a:1", 1)
    assert sorted(told(server)) == sorted(
        [
            (all_of.id, of("a:1", "a:2", "b:1", "b:2", "x")),
            (client.id, of("a:1", "a:2")),
            (client.id, of("b:1", "b:2")),
            (other.id, of("a:2")),
        ]
    )
    pushed(other, "SET", "a:1", 1)
    server.state.tracking.disable(client)
    assert told(server) == [(all_of.id, of("a:1"))]
    run(other, "GET", "a:1")
    assert server.state.tracking.key_count == 0


@pytest.mark.parametrize("words", [("FLUSHALL",), ("FLUSHDB",), ("SWAPDB", 0, 3), "load"], ids=str)
def test_all_keys_are_told_where_a_database_is_replaced(server: Server, words: Any) -> None:
    client, broadcast = tracking_client(server), tracking_client(server, Mode(broadcasts=True), (b"x",))
    run(client, "GET", "k")
    if words == "load":
        server.keyspace.replace(new_shards())
    else:
        run(server.session(), *words)
    assert sorted(shown(server.state.tracking.take_all())) == [(client.id, ALL), (broadcast.id, ALL)]
    assert (server.state.tracking.key_count, server.state.tracking.item_count) == (0, 0)


def test_key_is_told_whatever_its_database(server: Server) -> None:
    client, other = tracking_client(server), server.session()
    run(other, "SET", "k", 1)
    for words in (("COPY", "k", "l", "DB", 3), ("MOVE", "k", 4)):
        run(client, "GET", "k")
        run(client, "GET", "l")
        run(other, *words)
    assert told(server) == [(client.id, of("l")), (client.id, of("k"))]


def test_message_goes_to_who_is_named_or_the_client_is_told_that_nobody_is_there(server: Server) -> None:
    receiver = server.session()
    client = tracking_client(server, Mode(redirect=receiver.id))
    run(client, "GET", "k")
    run(server.session(), "SET", "k", 1)
    assert told_quietly(server) == []
    run(receiver, "SUBSCRIBE", "__redis__:invalidate")
    run(client, "GET", "k")
    run(server.session(), "SET", "k", 1)
    message = b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n"
    assert told(server) == [(receiver.id, message + b"*1\r\n$1\r\nk\r\n")]
    run(server.session(), "FLUSHALL")
    assert told(server) == [(receiver.id, message + b"$-1\r\n")]
    run(client, "GET", "k")
    del server.state.sessions[receiver.id]
    run(server.session(), "SET", "k", 1)
    assert client.tracker
    assert not client.tracker.is_broken
    assert told(server) == [(client.id, b">2\r\n$21\r\ntracking-redir-broken\r\n:%d\r\n" % receiver.id)]
    assert client.tracker.is_broken


def told_quietly(server: Server) -> Told:
    return shown(server.state.tracking.take_all())


def test_key_that_all_read_and_nobody_writes_does_not_keep_those_who_are_gone(server: Server) -> None:
    tracking = server.state.tracking
    first = tracking_client(server)
    run(first, "GET", "k")
    for number in range(5 * MOST_GONE):
        client = tracking_client(server)
        run(client, "GET", "k")
        # Some leave, and others track no more.
        run(client, "RESET")
        if number % 2:
            del server.state.sessions[client.id]
    assert tracking.item_count <= MOST_GONE + 5
    last = tracking_client(server)
    run(last, "GET", "k")
    run(server.session(), "SET", "k", 1)
    assert told(server) == [(first.id, of("k")), (last.id, of("k"))]
    assert tracking.item_count == 0


def test_without_trackers_nothing_is_looked_at_and_nothing_is_kept(server: Server) -> None:
    tracking = server.state.tracking
    client = tracking_client(server)
    assert list(server.keyspace.records.observers) == [tracking]
    for number in range(3 * KEYS_A_STEP):
        run(client, "GET", number)
    run(client, "RESET")
    assert list(server.keyspace.records.observers) == []
    assert (tracking.client_count, tracking.key_count, tracking.item_count) == (0, 0, 0)
    steps = 0
    while tracking.tidy():
        steps += 1
    assert steps == 3
    run(server.session(), "SET", 1, 1)
    server.state.tracking.enable(client, Mode(), [])
    assert told(server) == []


def test_keys_over_the_limit_are_forgotten_in_steps_and_told(server: Server) -> None:
    tracking, config = server.state.tracking, server.state.config
    client = tracking_client(server)
    count = 2 * TOLD_A_STEP + 10
    for number in range(count):
        run(client, "GET", number)
    config.tracking_table_max_keys = 10
    assert tracking.tidy()
    assert tracking.key_count == count - TOLD_A_STEP
    assert tracking.tidy() is False
    assert tracking.key_count == 10
    assert shown(tracking.take()) == [(client.id, of(str(number))) for number in range(count - 10)]
    # The next read makes room for itself before the one behind it.
    assert pushed(client, "GET", "new") == ([], [])
    assert pushed(client, "GET", "new") == ([(client.id, of(str(count - 10)))], [])
    config.tracking_table_max_keys = 0
    run(client, "GET", "newer")
    assert tracking.tidy() is False


def test_random_reads_and_writes_leave_no_stale_copy(server: Server) -> None:
    """Clients hold what they read until they are told. Behind each tick, what they hold is what is there."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    modes = (Mode(), Mode(skips_own=True), Mode(broadcasts=True))
    clients = [tracking_client(server, mode, (b"",) if mode.broadcasts else ()) for mode in modes]
    held: dict[int, dict[bytes, Any]] = {client.id: {} for client in clients}
    plain = server.session()
    keys = [b"%d" % number for number in range(6)]

    def hear(heard: Told) -> None:
        for number, wire in heard:
            for key in keys if wire == ALL else [key for key in keys if b"$1\r\n%b\r\n" % key in wire]:
                held[number].pop(key, None)

    for _ in range(400):
        for _ in range(rng.randrange(1, 6)):
            key = rng.choice(keys)
            client = rng.choice([*clients, plain])
            words: tuple[Any, ...] = rng.choice(
                [("GET", key)] * 4 + [("SET", key, rng.randrange(9)), ("DEL", key), ("SET", key, 1, "PX", 3), ("FLUSHALL",)]
            )
            if rng.random() < 0.2:
                server.clock.now_ms += 1
            tracking = server.state.tracking
            result: Any = run(client, *words)
            if type(result) is Tracked:
                hear(shown(tracking.take()))
                result = result.result
                if words[0] == "GET":
                    held[client.id][key] = result
                else:
                    # Who writes a key knows that it is another.
                    held[client.id].pop(key, None)
                tracking.end(client, [b"GET"], in_transaction=False)
                hear(shown(tracking.take_own(client, client.tracker)))
        server.keyspace.records.take()
        hear(shown(server.state.tracking.take_all()))
        while server.keyspace.sweep():
            pass
        hear(told_quietly(server))
        for copies in held.values():
            assert copies == {key: server.keyspace.live(key) for key in copies}
