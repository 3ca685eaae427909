"""Results are carried out to the end: those that wait for the journal or act on other clients, and those of transactions."""

from __future__ import annotations

from functools import partial

import pytest

from helpers.servers import encode
from helpers.writers import Setting, settle
from kvserver.dispatch.arguments import WRONG_TYPE
from kvserver.dispatch.gate import MISCONF
from kvserver.resp.reply import Push
from kvserver.state.channels import Message


@pytest.fixture
async def setting() -> Setting:
    return Setting()


async def test_commands_of_a_killed_client_do_not_run(setting: Setting) -> None:
    killer, victim = setting.client(), setting.client()
    setting.send(killer, encode("CLIENT", "KILL", "ID", victim.session.id))
    setting.send(victim, encode("SET", "k", "v"))
    await settle()
    assert killer.said == b":1\r\n"
    assert victim.is_aborted
    assert setting.server.keyspace.peek(b"k") is None


async def test_nothing_behind_quit_runs_while_its_reply_is_held(setting: Setting) -> None:
    outbox, client = setting.hold_replies(), setting.client()
    setting.send(client, encode("SET", "a", "1"), encode("QUIT"), encode("SET", "k", "v"))
    await settle()
    assert (client.said, client.is_closed) == (b"", False)
    assert setting.server.keyspace.peek(b"k") is None
    setting.recording.safe = 1
    outbox.release()
    assert (client.said, client.is_closed) == (b"+OK\r\n+OK\r\n", True)
    assert not client.is_aborted


async def test_reply_is_held_until_its_record_is_safe_and_so_is_what_others_saw_of_it(setting: Setting) -> None:
    outbox, writer, reader = setting.hold_replies(), setting.client(), setting.client()
    setting.send(writer, encode("SET", "k", "v"))
    setting.send(reader, encode("GET", "k"))
    await settle()
    assert writer.said == reader.said == b""
    setting.recording.safe = 1
    outbox.release()
    assert (writer.said, reader.said) == (b"+OK\r\n", b"$1\r\nv\r\n")


async def test_commands_behind_one_that_waits_run_after_it_and_are_counted_once(setting: Setting) -> None:
    client, counters = setting.client(), setting.server.state.counters
    setting.send(client, encode("SAVE"), *[encode("PING")] * 10)
    await settle()
    assert (client.said, client.is_waiting, counters.commands_processed) == (b"", True, 1)
    setting.jobs.ended.set()
    await settle()
    assert not client.is_waiting
    setting.writer.enqueue(client)
    await settle()
    assert client.said == b"+OK\r\n" + b"+PONG\r\n" * 10
    assert counters.commands_processed == 11


@pytest.mark.parametrize("comes_before", [True, False])
async def test_what_is_fetched_for_a_client_that_goes_away_is_dropped(setting: Setting, *, comes_before: bool) -> None:
    client = setting.client()
    setting.send(client, encode("KVS.RESTORE", "0s", "KEYS", "k"))
    await settle()
    if comes_before:
        setting.jobs.ended.set()
        await settle()
        assert client.session.ready
    client.abort()
    setting.writer.results.forget(client)
    setting.jobs.ended.set()
    await settle()
    assert client.session.ready is None


async def test_transaction_is_refused_as_a_whole_by_what_stands_against_one_of_its_requests(setting: Setting) -> None:
    client, server = setting.client(), setting.server
    setting.send(client, encode("MULTI"), encode("SET", "a", "1"), encode("GET", "a"))
    await settle()
    client.said = b""
    server.state.persistence.last_save_ok = False
    setting.send(client, encode("EXEC"), encode("GET", "a"))
    await settle()
    assert client.said == b"-EXECABORT Transaction discarded because of: %b\r\n$-1\r\n" % MISCONF.encode()
    server.state.persistence.last_save_ok = True
    setting.send(client, encode("EXEC"))
    await settle()
    assert client.said.endswith(b"-ERR EXEC without MULTI\r\n")
    usage = server.state.usages.by_name[b"exec"]
    assert (server.state.usages.errors["EXECABORT"], usage.rejected, usage.failed) == (1, 1, 1)


@pytest.mark.parametrize("end", ["RESET", "QUIT"])
async def test_commands_are_shown_to_monitors_while_there_are_some(setting: Setting, end: str) -> None:
    monitor, client = setting.client(), setting.client()
    setting.send(monitor, encode("MONITOR"))
    setting.send(client, encode("PING"))
    await settle()
    assert monitor.said.endswith(b'"PING"\r\n')
    assert setting.server.table.plain(client.session) is not setting.server.table.open
    setting.send(monitor, encode(end))
    await settle()
    if monitor.is_closed:
        setting.writer.results.forget(monitor)
    table = setting.server.table
    assert table.plain(client.session) is table.open, "the way of a command is the short one again"


async def test_message_about_a_key_comes_before_the_reply_and_before_what_is_published_later(setting: Setting) -> None:
    client, other = setting.client(), setting.client()
    client.session.protocol = 3
    for subscriber in (client, other):
        setting.send(subscriber, encode("SUBSCRIBE", "__keyspace@0__:k", "c"))
    await settle()
    client.said = other.said = b""
    setting.server.state.notifications.configure("K$")
    setting.send(client, encode("SET", "k", "v"), encode("PUBLISH", "c", "x"), encode("APPEND", "k", "w"))
    await settle()
    told = [b"$7\r\nmessage\r\n$16\r\n__keyspace@0__:k\r\n$3\r\nset\r\n", b"$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n"]
    told.append(told[0].replace(b"$3\r\nset", b"$6\r\nappend"))
    assert other.said == b"".join(b"*3\r\n" + each for each in told)
    assert client.said == b"".join(b">3\r\n%b%b\r\n" % pair for pair in zip(told, (b"+OK", b":2", b":2"), strict=True))


async def test_messages_of_a_transaction_come_in_the_order_of_its_commands(setting: Setting) -> None:
    client, other = setting.client(), setting.client()
    setting.send(other, encode("SUBSCRIBE", "__keyevent@0__:set", "__keyevent@0__:del", "c"))
    await settle()
    other.said = b""
    setting.server.state.notifications.configure("g$E")
    queued = (encode("SET", "k", "v"), encode("LPUSH", "k", "x"), encode("PUBLISH", "c", "x"), encode("GETDEL", "k"))
    setting.send(client, encode("MULTI"), *queued, encode("EXEC"))
    await settle()
    heard = [other.said.find(word) for word in (b"__keyevent@0__:set", b"$1\r\nc", b"__keyevent@0__:del")]
    assert -1 < heard[0] < heard[1] < heard[2]
    assert client.said.endswith(b"*4\r\n+OK\r\n-%b\r\n:1\r\n$1\r\nv\r\n" % WRONG_TYPE.encode())
    assert setting.server.state.usages.by_name[b"lpush"].failed == 1


async def test_message_about_what_went_by_itself_is_held_until_its_record_is_safe(setting: Setting) -> None:
    outbox, subscriber, gone = setting.hold_replies(), setting.client(), setting.client()
    message = Message(Push([b"message", b"c", b"x"]))
    setting.writer.results.forget(gone)
    setting.recording.sequence = 1
    setting.writer.results.deliver([(subscriber.session, message), (gone.session, message)])
    assert subscriber.said == b""
    setting.recording.safe = 1
    outbox.release()
    assert (subscriber.said, gone.said) == (message.wire(2), b"")


INVALIDATED = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"


async def test_one_that_keeps_a_key_is_told_when_the_write_is_safe_and_before_it_reads_the_new_value(setting: Setting) -> None:
    outbox, writer, reader = setting.hold_replies(), setting.client(), setting.client()
    setting.send(reader, encode("HELLO", 3), encode("CLIENT", "TRACKING", "ON"), encode("GET", "k"))
    await settle()
    assert reader.said.endswith(b"+OK\r\n_\r\n")
    reader.said = b""
    setting.send(writer, encode("SET", "k", "v"))
    await settle()
    assert (writer.said, reader.said) == (b"", b"")
    setting.send(reader, encode("GET", "k"))
    await settle()
    assert reader.said == b""
    setting.recording.safe = 1
    outbox.release()
    assert (writer.said, reader.said) == (b"+OK\r\n", INVALIDATED + b"$1\r\nv\r\n")


async def test_what_a_client_has_done_itself_is_told_behind_a_reply_that_comes_late(setting: Setting) -> None:
    client = setting.client()
    setting.send(client, encode("HELLO", 3), encode("CLIENT", "TRACKING", "ON"), encode("GET", "k"))
    await settle()
    client.said = b""
    setting.send(client, encode("MULTI"), encode("SET", "k", "v"), encode("BGSAVE"), encode("EXEC"))
    await settle()
    assert client.said == b"+OK\r\n+QUEUED\r\n+QUEUED\r\n"
    setting.jobs.ended.set()
    await settle()
    assert client.said.endswith(b"*2\r\n+OK\r\n+OK\r\n" + INVALIDATED)


async def test_flush_is_told_to_the_client_that_asked_for_it_behind_its_reply(setting: Setting) -> None:
    client = setting.client()
    setting.send(client, encode("HELLO", 3), encode("CLIENT", "TRACKING", "ON"), encode("GET", "k"))
    await settle()
    client.said = b""
    setting.send(client, encode("FLUSHALL"))
    await settle()
    setting.jobs.ended.set()
    await settle()
    assert client.said == b"+OK\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n"


@pytest.mark.parametrize("broadcasts", [False, True], ids=["plain", "bcast"])
async def test_what_others_write_is_told_behind_the_late_reply_of_a_transaction_that_has_read_it(
    setting: Setting, *, broadcasts: bool
) -> None:
    client, other = setting.client(), setting.client()
    setting.send(client, encode("HELLO", 3), encode("CLIENT", "TRACKING", "ON", *["BCAST"] * broadcasts))
    setting.send(client, encode("MULTI"), encode("GET", "k"), encode("BGSAVE"))
    await settle()
    client.said = b""
    setting.send(client, encode("EXEC"))
    await settle()
    setting.send(other, encode("SET", "k", "v"))
    await settle()
    assert (other.said, client.said) == (b"+OK\r\n", b"")
    setting.jobs.ended.set()
    await settle()
    assert client.said == b"*2\r\n_\r\n+OK\r\n" + INVALIDATED
    client.said = b""
    setting.send(client, encode("GET", "k"))
    setting.send(other, encode("SET", "k", "w"))
    await settle()
    assert client.said == b"$1\r\nv\r\n" + INVALIDATED, "what it hears does not wait any more"


@pytest.mark.parametrize("words", [("GET", "k"), ("JSON.GET", "k")], ids=["paused", "worked for ahead"])
async def test_what_client_caching_says_holds_for_a_command_that_is_put_off(setting: Setting, words: tuple[str, str]) -> None:
    client, other = setting.client(), setting.client()
    for each in client, other:
        each.on_go_on = partial(setting.send, each)
    is_paused = words[0] == "GET"
    store = ("SET", "k", "v") if is_paused else ("JSON.SET", "k", "$", f"[{','.join(['12345678'] * 20_000)}]")
    setting.send(other, encode(*store))
    while not other.said:
        await settle()
    setting.send(client, encode("HELLO", 3), encode("CLIENT", "TRACKING", "ON", "OPTIN"), encode("CLIENT", "CACHING", "YES"))
    await settle()
    if is_paused:
        setting.send(other, encode("CLIENT", "PAUSE", 60_000, "ALL"))
        await settle()
    client.said = b""
    setting.send(client, encode(*words))
    await settle()
    # One whose steps go on has read its keys already.
    assert (client.said, setting.server.state.tracking.key_count) == (b"", 0 if is_paused else 1)
    if is_paused:
        setting.writer.results.pauses.end()
    while not client.said:
        await settle()
    client.said = b""
    setting.send(other, encode("DEL", "k"))
    await settle()
    assert client.said == INVALIDATED


async def test_those_who_wait_are_sent_away_and_others_stay(setting: Setting) -> None:
    blocked, other = setting.client(), setting.client()
    setting.send(blocked, encode("BLPOP", "l", 0))
    setting.send(other, encode("PING"))
    await settle()
    setting.writer.results.disconnect_blocked("UNBLOCKED why")
    assert blocked.said == b"-UNBLOCKED why\r\n"
    assert blocked.is_closed
    assert not other.is_closed
