"""Long texts are parsed and written before a command runs, between the commands of others."""

from __future__ import annotations

import pytest

from helpers import sessions
from helpers.servers import encode
from helpers.writers import Noting, Setting, settle
from kvserver.data.keyspace import Keyspace
from kvserver.formats.codec import JSONText, canonical
from kvserver.types.json.document import Document
from kvserver.types.json.parsing import LONG_BYTES
from kvserver.types.json.segments import Work

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
    assert one.said == bulk(b"[3]")
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


async def test_document_that_changes_amid_the_search_is_searched_again(setting: Setting) -> None:
    one, other = await with_many(setting)
    setting.send(one, encode("JSON.NUMINCRBY", "k", "$..[?@.id<0].id", "1"))
    await settle()
    assert one.is_waiting
    setting.send(other, encode("JSON.SET", "k", "$.tail", '{"other":{"id":-5}}'))
    await finish(one, other)
    assert one.said == bulk(b"[-4]")
    assert (await said(other, setting, "JSON.GET", "k", "$.tail")).endswith(bulk(b'[{"other":{"id":-4}}]'))


async def test_search_that_has_ended_is_made_again_if_its_document_changes_amid_another(plain: Setting) -> None:
    one, other = await with_many(plain)
    few = canonical([{"id": number, "pad": "p" * 100} for number in range(40)])
    plain.send(one, encode("JSON.SET", "few", "$", few), encode("JSON.GET", "few", "$[0].id"))
    await finish(one)
    one.said = b""
    plain.send(one, encode("JSON.MSET", "few", "$[?@.id==20].pad", '"new"', "k", "$..[?@.id<0].id", "1"))
    await settle()
    assert one.is_waiting
    plain.send(other, encode("JSON.DEL", "few", "$[0]"))
    await finish(one, other)
    assert (one.said, other.said) == (b"+OK\r\n", b":1\r\n")
    assert await said(one, plain, "JSON.GET", "few", '$[?@.pad=="new"].id') == b"+OK\r\n" + bulk(b"[20]")


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
