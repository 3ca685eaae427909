"""Commands that take long go on between the commands of others, and nobody sees or loses anything by that."""

from __future__ import annotations

import json

import pytest

from helpers import sessions
from helpers.servers import encode
from helpers.writers import Noting, Setting, settle
from kvserver.data.keyspace import Keyspace
from kvserver.formats.codec import JSONText, canonical
from kvserver.state.session import SCRIPT_ID, Session
from kvserver.types.json.document import Document
from kvserver.types.json.numbers import json_numincrby
from kvserver.types.json.parsing import LONG_BYTES
from kvserver.types.json.work import Work

LONG = {"names": [f"name {number}" for number in range(4 * LONG_BYTES // 10)], "number": 1.5}
TEXT = canonical(LONG)


@pytest.fixture
async def setting() -> Setting:
    return Setting()


@pytest.fixture
async def plain(monkeypatch: pytest.MonkeyPatch) -> Setting:
    """A setting with the keyspace of a server: the one that guards makes forks, so that no document is changed in place."""
    monkeypatch.setattr(sessions, "_guarding", lambda: Keyspace)
    return Setting()


def new_client(setting: Setting) -> Noting:
    """A client whose queue goes on by itself."""
    client = setting.client()
    client.on_go_on = lambda: setting.writer.enqueue(client) if client.queue else None
    return client


async def finish(*clients: Noting) -> None:
    """Let the clients go on until none of them waits."""
    await settle()
    while any(client.is_waiting or client.queue for client in clients):
        await settle()


def bulk(text: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(text), text)


async def test_long_document_is_set_and_got_between_the_commands_of_others(setting: Setting) -> None:
    one, other = new_client(setting), new_client(setting)
    setting.send(one, encode("JSON.SET", "k", "$", TEXT), encode("JSON.GET", "k"), encode("PING"))
    await settle()
    assert (one.said, one.is_waiting) == (b"", True)
    setting.send(other, encode("PING"))
    await settle()
    assert other.said == b"+PONG\r\n"
    assert one.is_waiting
    await finish(one)
    assert one.said == b"+OK\r\n" + bulk(TEXT) + b"+PONG\r\n"
    assert type(setting.server.keyspace.peek(b"k")) is Document
    assert one.session.ready is None


async def test_reply_is_what_was_there_when_the_command_came(setting: Setting) -> None:
    one, other = new_client(setting), new_client(setting)
    setting.send(one, encode("JSON.SET", "k", "$", TEXT))
    await finish(one)
    setting.send(one, encode("JSON.GET", "k"))
    await settle()
    assert one.is_waiting
    setting.send(other, encode("JSON.SET", "k", "$.number", "2"), encode("JSON.GET", "k", "$.number"))
    await finish(other)
    assert other.said == b"+OK\r\n" + bulk(b"[2]")
    await finish(one)
    assert one.said == b"+OK\r\n" + bulk(TEXT)


@pytest.mark.parametrize("text", [TEXT[:-1], TEXT + b"]", b"[NaN," + TEXT[1:], b'{"a":"\xff",' + TEXT[1:]])
async def test_long_text_that_is_wrong_changes_nothing(setting: Setting, text: bytes) -> None:
    client = new_client(setting)
    setting.send(client, encode("JSON.SET", "k", "$", "1"), encode("JSON.SET", "k", "$", text), encode("JSON.GET", "k"))
    await finish(client)
    assert client.said.startswith(b"+OK\r\n-ERR ")
    assert client.said.endswith(bulk(b"1"))
    assert client.session.ready is None


async def test_text_that_is_stored_is_parsed_once_when_a_path_is_asked_for(setting: Setting) -> None:
    client, keyspace = new_client(setting), setting.server.keyspace
    keyspace.set(b"k", JSONText(TEXT))
    setting.send(client, encode("JSON.GET", "k", "$.number"))
    await settle()
    assert client.is_waiting
    await finish(client)
    kept = keyspace.peek(b"k")
    assert type(kept) is Document
    setting.send(client, encode("JSON.GET", "k", "$.number"))
    await settle()
    assert client.said == 2 * bulk(b"[1.5]")
    assert keyspace.peek(b"k") is kept


async def test_whole_of_a_text_that_is_stored_is_got_as_it_stands(setting: Setting) -> None:
    client = new_client(setting)
    setting.server.keyspace.set(b"k", JSONText(TEXT))
    setting.send(client, encode("JSON.GET", "k"))
    await settle()
    assert client.said == bulk(TEXT)


async def test_key_that_was_replaced_meanwhile_stays(setting: Setting) -> None:
    one, other, keyspace = new_client(setting), new_client(setting), setting.server.keyspace
    keyspace.set(b"k", JSONText(TEXT))
    setting.send(one, encode("JSON.GET", "k", "$.number"))
    await settle()
    setting.send(other, encode("JSON.SET", "k", "$", '{"number":3}'))
    await finish(one, other)
    # It has read the key before.
    assert one.said == bulk(b"[1.5]")
    assert keyspace.peek(b"k") == JSONText(b'{"number":3}')


async def test_transactions_and_scripts_do_not_wait(setting: Setting) -> None:
    client = new_client(setting)
    requests = [encode("MULTI"), encode("JSON.SET", "k", "$", TEXT), encode("JSON.GET", "k"), encode("EXEC")]
    setting.send(client, *requests)
    await settle()
    assert client.said == b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n" + bulk(TEXT)


async def test_client_that_leaves_meanwhile_is_forgotten(setting: Setting) -> None:
    client = new_client(setting)
    setting.send(client, encode("JSON.SET", "k", "$", TEXT), encode("PING"))
    await settle()
    client.close()
    setting.writer.results.forget(client)
    for _ in range(50):
        await settle()
    assert setting.server.keyspace.peek(b"k") is None
    assert client.said == b""
    assert not setting.writer.results.tasks


MANY = {"list": [{"id": number, "on": True} for number in range(20_000)], "tail": {"id": -1}}
MANY_TEXT = canonical(MANY)


async def with_many(setting: Setting) -> tuple[Noting, Noting]:
    one, other = new_client(setting), new_client(setting)
    setting.send(one, encode("JSON.SET", "k", "$", MANY_TEXT), encode("JSON.SET", "small", "$", "[1]"))
    await finish(one)
    one.said = b""
    return one, other


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        (("GET", "k", "$.list[?@.id==19999].id"), bulk(b"[19999]")),
        (("GET", "k", "$..[?@.id==-1]", "$.tail.id", "$..nothing"),
         bulk(b'{"$..[?@.id==-1]":[{"id":-1}],"$.tail.id":[-1],"$..nothing":[]}')),
        (("MGET", "k", "small", "none", "$..[?@.id==7].id"), b"*3\r\n" + bulk(b"[7]") + bulk(b"[]") + b"$-1\r\n"),
        (("TYPE", "k", "$..[?@.id==7].on"), b"*1\r\n$7\r\nboolean\r\n"),
        (("NUMINCRBY", "k", "$.list[?@.id>19998].id", "1"), bulk(b"[20000]")),
        (("DEL", "k", "$.list[?@.id>19998]"), b":1\r\n"),
        (("GET", "k", "$..[?count($..*)==1]"), b"-ERR path looks at too many values\r\n"),
        (("GET", "k", "$.list[*"), b"-ERR Error occurred on position 9, expected `,` or `]`\r\n"),
    ],
)  # fmt: skip
async def test_path_is_searched_between_the_commands_of_others(
    setting: Setting, words: tuple[str, ...], reply: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Work.__init__, "__defaults__", (1_000_000,))
    one, other = await with_many(setting)
    setting.send(one, encode(f"JSON.{words[0]}", *words[1:]))
    await settle()
    assert one.is_waiting or reply.startswith(b"-ERR Error")
    setting.send(other, encode("PING"))
    await finish(one, other)
    assert (one.said, other.said) == (reply, b"+PONG\r\n")
    assert one.session.ready is None


async def test_key_that_is_removed_or_made_while_others_are_written_moves_no_reply(setting: Setting) -> None:
    one, other = await with_many(setting)
    setting.send(one, encode("JSON.SET", "l", "$", TEXT), encode("JSON.GET", "l", ".number"))
    await finish(one)
    one.said = b""
    setting.send(one, encode("JSON.MGET", "k", "none", "l", "."))
    await settle()
    assert one.is_waiting
    setting.send(other, encode("DEL", "k"), encode("JSON.SET", "none", "$", "[1]"))
    await finish(one, other)
    assert one.said == b"*3\r\n" + bulk(MANY_TEXT) + b"$-1\r\n" + bulk(TEXT)


@pytest.mark.parametrize("change", [("DEL", "k"), ("JSON.DEL", "k", ".tail"), ("SET", "k", "\xff")])
async def test_reply_of_several_paths_is_finished_whatever_happens_to_the_key(
    setting: Setting, change: tuple[str, ...]
) -> None:
    one, other = await with_many(setting)
    setting.send(one, encode("JSON.GET", "k", ".list", ".tail"))
    await settle()
    assert one.is_waiting
    setting.send(other, encode(*change))
    await finish(one, other)
    assert one.said == bulk(b'{".list":%b,".tail":{"id":-1}}' % canonical(MANY["list"]))


async def test_many_values_that_were_found_are_written_in_steps_as_well(setting: Setting) -> None:
    one, other = await with_many(setting)
    setting.send(one, encode("JSON.GET", "k", "$..id"))
    await settle()
    # Neither is seen by what has begun before.
    setting.send(other, encode("JSON.NUMINCRBY", "k", "$.tail.id", "1"), encode("JSON.DEL", "k", "$.list"))
    await finish(other)
    assert one.is_waiting
    await finish(one)
    expected = b"[%b]" % b",".join(b"%d" % number for number in [*range(20_000), -1])
    assert one.said in (bulk(expected), bulk(b"[0]"))


INCREASE = encode("JSON.NUMINCRBY", "k", "$..[?@.id<0].id", "1")


@pytest.mark.parametrize(
    "words",
    [
        ("JSON.SET", "k", "$.tail", '{"id":-5}'),
        ("DEL", "k"),
        ("RENAME", "small", "k"),
        ("JSON.MSET", "small", "$", "1", "k", "$.tail.id", "7"),
    ],
    ids=lambda words: words[0],
)
async def test_others_write_the_key_when_the_command_has_run(plain: Setting, words: tuple[str, ...]) -> None:
    one, other = await with_many(plain)
    plain.send(one, INCREASE)
    await settle()
    plain.send(other, encode(*words), encode("PING"))
    await settle()
    assert (one.is_waiting, other.is_waiting) == (True, True)
    await finish(one, other)
    assert one.said == bulk(b"[0]")
    assert other.said.endswith(b"+PONG\r\n")
    assert not other.said.startswith(b"-")
    assert not plain.server.state.reserved
    left = await said(one, plain, "JSON.GET", "k", "$.tail.id")
    found = {"JSON.SET": bulk(b"[-5]"), "JSON.MSET": bulk(b"[7]"), "DEL": b"$-1\r\n", "RENAME": bulk(b"[]")}
    assert left == bulk(b"[0]") + found[words[0]]


async def test_transaction_of_another_waits_and_a_read_does_not(plain: Setting) -> None:
    one, other, third = *(await with_many(plain)), new_client(plain)
    plain.send(other, encode("MULTI"), encode("SET", "k", "1"))
    plain.send(one, INCREASE)
    await settle()
    plain.send(other, encode("EXEC"))
    plain.send(third, encode("JSON.GET", "k", "$.tail.id"), encode("SET", "elsewhere", "1"))
    await settle()
    assert (one.is_waiting, other.said) == (True, b"+OK\r\n+QUEUED\r\n")
    assert third.said == bulk(b"[-1]") + b"+OK\r\n"
    await finish(one, other)
    assert (one.said, other.said) == (bulk(b"[0]"), b"+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n")


def hidden_write(setting: Setting) -> None:
    """Write the key as a script does that has not declared it."""
    script = Session(setting.server.state, SCRIPT_ID, "", "", is_local=True)
    json_numincrby.handler(script, [b"JSON.NUMINCRBY", b"k", b"$.tail.id", b"-10"])


@pytest.mark.parametrize("times", [1, 1 << 30], ids=["once", "again and again"])
async def test_steps_begin_again_if_the_key_changes_all_the_same(plain: Setting, times: int) -> None:
    one, _ = await with_many(plain)
    plain.send(one, INCREASE)
    await settle()
    hidden = 0
    # In the end all is done at once.
    while one.is_waiting or one.queue:
        if hidden < times and one.is_waiting:
            hidden_write(plain)
            hidden += 1
        await settle()
    assert one.said == bulk(b"[%d]" % (-10 * hidden))
    assert not plain.server.state.reserved


async def test_key_that_expires_amid_the_steps_is_missing(plain: Setting) -> None:
    one, _ = await with_many(plain)
    plain.send(one, encode("PEXPIRE", "k", "100"))
    await finish(one)
    plain.send(one, INCREASE)
    await settle()
    assert one.is_waiting
    plain.server.clock.now_ms += 100
    await finish(one)
    assert one.said == b":1\r\n-ERR could not perform this operation on a key that doesn't exist\r\n"
    assert not plain.server.state.reserved


@pytest.mark.parametrize("way", ["leaves", "is refused"])
async def test_key_is_free_when_its_client(plain: Setting, way: str) -> None:
    one, other = await with_many(plain)
    plain.send(one, INCREASE)
    await settle()
    plain.send(other, encode("SET", "k", "1"))
    await settle()
    assert other.is_waiting
    if way == "leaves":
        one.close()
        plain.writer.results.forget(one)
        await finish(other)
    else:
        # A snapshot has failed meanwhile.
        plain.server.state.persistence.last_save_ok = False
        await finish(one, other)
    assert not plain.server.state.reserved
    if way == "leaves":
        assert other.said == b"+OK\r\n"
    else:
        assert one.said.startswith(b"-MISCONF ")
        assert other.said.startswith(b"-MISCONF ")


async def test_many_places_are_changed_in_steps_and_a_snapshot_has_none_or_all(plain: Setting) -> None:
    one, other = await with_many(plain)
    keyspace = plain.server.keyspace
    plain.send(one, encode("JSON.NUMINCRBY", "k", "$.list[*].id", "1"))
    await settle()
    seen = set()
    while one.is_waiting:
        document = keyspace.peek(b"k")
        assert isinstance(document, Document)
        seen.add((document.root["list"][0]["id"], document.root["list"][-1]["id"]))
        await settle()
    assert seen <= {(0, 19_999), (1, 20_000)}
    assert (0, 19_999) in seen
    assert await said(other, plain, "JSON.GET", "k", "$.list[0,-1].id") == bulk(b"[1,20000]")


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        (("JSON.TYPE", "k", "$.list[*].id"), b"*20000\r\n" + b"$7\r\ninteger\r\n" * 20_000),
        (("JSON.OBJLEN", "k", "$.list[*]"), b"*20000\r\n" + b":2\r\n" * 20_000),
        (("JSON.OBJKEYS", "k", "$.list[*]"), b"*20000\r\n" + b"*2\r\n$2\r\nid\r\n$2\r\non\r\n" * 20_000),
        (("JSON.ARRINDEX", "k", "$.list", '{"id":19999,"on":true}'), b"*1\r\n:19999\r\n"),
        (("JSON.TOGGLE", "k", "$.list[*].on"), b"*20000\r\n" + b":0\r\n" * 20_000),
        (("JSON.CLEAR", "k", "$.list[*]"), b":20000\r\n"),
        (("JSON.DEL", "k", "$.list[?@.id>9]"), b":19990\r\n"),
        (("JSON.SET", "k", "$.list[*].on", "[1]"), b"+OK\r\n"),
        (("JSON.MERGE", "k", "$.list[*]", '{"id":null}'), b"+OK\r\n"),
    ],
    ids=lambda words: words[0] if isinstance(words, tuple) else None,
)
async def test_command_on_many_places_lets_others_go_on(plain: Setting, words: tuple[str, ...], reply: bytes) -> None:
    one, other = await with_many(plain)
    plain.send(one, encode(*words))
    await settle()
    assert one.is_waiting
    plain.send(other, encode("PING"))
    await settle()
    assert other.said == b"+PONG\r\n"
    await finish(one)
    assert one.said == reply


async def test_document_becomes_a_reply_of_the_protocol_in_steps(plain: Setting) -> None:
    one, other = await with_many(plain)
    expected = b"*1\r\n*5\r\n+{\r\n$4\r\nlist\r\n*20001\r\n+[\r\n"
    expected += b"".join(b"*5\r\n+{\r\n$2\r\nid\r\n:%d\r\n$2\r\non\r\n+true\r\n" % number for number in range(20_000))
    expected += b"$4\r\ntail\r\n*3\r\n+{\r\n$2\r\nid\r\n:-1\r\n"
    plain.send(one, encode("JSON.RESP", "k", "$"))
    await settle()
    assert one.is_waiting
    plain.send(other, encode("PING"))
    await finish(one, other)
    assert one.said == expected
    plain.send(other, encode("MULTI"), encode("JSON.RESP", "k", "$"), encode("EXEC"))
    await finish(other)
    assert other.said == b"+PONG\r\n+OK\r\n+QUEUED\r\n*1\r\n" + expected


async def test_layout_of_a_long_document_goes_in_steps(plain: Setting) -> None:
    one, other = await with_many(plain)
    plain.send(one, encode("JSON.GET", "k", "INDENT", "  ", "NEWLINE", "\n", "SPACE", " "))
    await settle()
    assert one.is_waiting
    plain.send(other, encode("PING"))
    await finish(one, other)
    assert one.said == bulk(json.dumps(MANY, indent=2).encode())


async def test_client_that_tracks_hears_of_a_change_amid_its_read_behind_the_reply(plain: Setting) -> None:
    one, other = await with_many(plain)
    plain.send(one, encode("HELLO", "3"), encode("CLIENT", "TRACKING", "ON"))
    await finish(one)
    one.said = b""
    plain.send(one, encode("JSON.GET", "k", "$..[?@.id<0].id"))
    await settle()
    assert one.is_waiting
    plain.send(other, encode("JSON.SET", "k", "$.tail.id", "-2"))
    await finish(one, other)
    assert other.said == b"+OK\r\n"
    assert one.said == bulk(b"[-1]") + b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"


async def test_commands_of_the_same_tick_change_nothing_amid_a_search(plain: Setting) -> None:
    one, other = new_client(plain), new_client(plain)
    members = {f"k{number}": {"x": number} for number in range(20_000)}
    plain.send(one, encode("JSON.SET", "k", "$", canonical(members)))
    await finish(one)
    one.said = b""
    plain.send(one, encode("JSON.GET", "k", "$[?@.x==1]"))
    plain.send(other, encode("JSON.SET", "k", "$.more", "1"))
    await finish(one, other)
    assert (one.said, other.said) == (bulk(b'[{"x":1}]'), b"+OK\r\n")


async def test_short_search_in_a_large_document_does_not_wait(setting: Setting) -> None:
    one, _ = await with_many(setting)
    setting.send(one, encode("JSON.GET", "k", "$.list[3:5].id"), encode("JSON.GET", "k", "$.tail['id']"))
    await settle()
    assert one.said == bulk(b"[3,4]") + bulk(b"[-1]")


async def said(client: Noting, setting: Setting, *words: str) -> bytes:
    setting.send(client, encode(*words))
    await finish(client)
    return client.said


async def test_text_that_is_parsed_amid_the_steps_of_a_read_is_changed_for_others_alone(plain: Setting) -> None:
    one, other = new_client(plain), new_client(plain)
    keyspace = plain.server.keyspace
    keyspace.set(b"k", JSONText(canonical(["x" * 4 * LONG_BYTES])))
    inner: object = [{"x": number} for number in range(1500)]
    for _ in range(10):
        inner = [inner]
    keyspace.set(b"m", JSONText(canonical({"l": inner, "more": 1})))
    plain.send(one, encode("JSON.MGET", "k", "m", "$..*..*..nope"))
    while type(keyspace.peek(b"m")) is not Document:
        await settle()
    assert one.is_waiting
    plain.send(other, encode("JSON.DEL", "m", "$.more"), encode("JSON.ARRPOP", "m", "$.l[0][0][0][0][0][0][0][0][0][0]"))
    await finish(one, other)
    assert one.said == b"*2\r\n" + bulk(b"[]") + bulk(b"[]")
    assert other.said == b":1\r\n*1\r\n" + bulk(b'{"x":1499}')


async def test_who_waits_for_all_keys_has_its_turn_though_others_come(plain: Setting) -> None:
    clients = [new_client(plain) for _ in range(3)]
    waiting = new_client(plain)
    for name, client in zip("ab", clients, strict=False):
        plain.send(client, *[encode("JSON.SET", f"{name}{number}", "$", TEXT) for number in range(6)])
    await settle()
    plain.send(waiting, encode("MULTI"), encode("SELECT", "0"), encode("SET", "k", "1"), encode("EXEC"))
    await settle()
    assert waiting.is_waiting
    before = [client.said.count(b"OK") for client in clients]
    while waiting.is_waiting or waiting.queue:
        await settle()
    done = [client.said.count(b"OK") for client in clients]
    # Each of them ends what it had begun.
    assert all(after <= earlier + 1 for earlier, after in zip(before, done, strict=True))
    await finish(*clients)
    assert [client.said.count(b"OK") for client in clients] == [6, 6, 0]


async def test_transaction_waits_for_its_own_keys_alone(plain: Setting) -> None:
    one, other = await with_many(plain)
    plain.send(one, INCREASE)
    await settle()
    plain.send(other, encode("MULTI"), encode("SET", "elsewhere", "1"), encode("EXEC"))
    await settle()
    assert (one.is_waiting, other.said) == (True, b"+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n")
    plain.send(other, encode("MULTI"), encode("SELECT", "0"), encode("SET", "elsewhere", "1"), encode("EXEC"))
    await settle()
    assert other.is_waiting
    await finish(one, other)


async def test_defect_at_the_end_frees_the_keys(plain: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = await with_many(plain)
    plain.send(one, INCREASE)
    await settle()
    plain.send(other, encode("SET", "k", "1"))
    await settle()
    assert other.is_waiting
    with monkeypatch.context() as patch:
        patch.setattr(plain.server.keyspace, "change", raise_memory_error)
        while not one.said:
            await settle()
    await finish(other)
    assert one.said.startswith(b"-ERR internal error")
    assert other.said == b"+OK\r\n"
    assert one.session.ready is None


def raise_memory_error(*_: object) -> None:
    raise MemoryError


async def test_document_is_held_by_nobody_when_its_readers_are_gone(plain: Setting) -> None:
    one, other = await with_many(plain)
    document = plain.server.keyspace.peek(b"k")
    assert isinstance(document, Document)
    inner = document.root["list"]
    plain.send(one, encode("JSON.MGET", "k", "k", "$..nope"))
    plain.send(other, encode("JSON.GET", "k", "$..nope"))
    await settle()
    other.close()
    plain.writer.results.forget(other)
    await finish(one)
    while plain.writer.results.tasks:
        await settle()
    plain.send(one, encode("JSON.SET", "k", "$.list[0].id", "-3"))
    await settle()
    assert document.root["list"] is inner, "nothing was copied"
