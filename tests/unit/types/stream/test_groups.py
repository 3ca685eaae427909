"""XGROUP makes and changes groups, and its records and watches are as they should. The case file compares its replies."""

from __future__ import annotations

from helpers.sessions import START_MS, Server, run
from kvserver.resp.reply import OK, Error
from kvserver.types.stream.stream import Stream


def group_names(server: Server) -> list[bytes]:
    value = server.keyspace.peek_live(b"k")
    assert isinstance(value, Stream)
    return sorted(value.groups)


def test_record_says_if_the_stream_was_made() -> None:
    server = Server()
    session = server.session()
    assert run(session, "XGROUP", "CREATE", "k", "g", "$", "MKSTREAM") == OK
    assert run(session, "XGROUP", "CREATE", "k", "h", "5", "MKSTREAM", "ENTRIESREAD", 7) == OK
    assert server.keyspace.records.take() == [
        b"XGROUP CREATE k g $ MKSTREAM".split(),
        b"XGROUP CREATE k h 5 ENTRIESREAD 7".split(),
    ]
    assert group_names(server) == [b"g", b"h"]


def test_what_changes_nothing_is_not_recorded() -> None:
    server = Server()
    session = server.session()
    run(session, "XGROUP", "CREATE", "k", "g", "$", "MKSTREAM")
    run(session, "XGROUP", "CREATECONSUMER", "k", "g", "c")
    assert server.keyspace.records.take()[1:] == [
        b"XGROUP CREATECONSUMER k g c".split(),
        b"XREADGROUP GROUP g c AT %d COUNT 1 STREAMS k 0".replace(b"%d", b"%d" % START_MS).split(),
    ]
    for words in ("CREATECONSUMER k g c", "DELCONSUMER k g d", "DESTROY k h"):
        assert run(session, "XGROUP", *words.split()) == 0
    assert server.keyspace.records.take() == []
    assert run(session, "XGROUP", "DESTROY", "k", "g") == 1
    assert group_names(server) == []


def test_frozen_stream_keeps_its_groups() -> None:
    server = Server()
    session = server.session()
    run(session, "XADD", "k", 1, "f", "v")
    run(session, "XGROUP", "CREATE", "k", "g", 0)
    cut = server.keyspace.cut()
    run(session, "XREADGROUP", "GROUP", "g", "c", "STREAMS", "k", ">")
    run(session, "XGROUP", "CREATE", "k", "h", 0)
    frozen = cut.lookup(b"k")
    assert isinstance(frozen, Stream)
    assert [name for name, _ in frozen.groups.in_order()] == [b"g"]
    group = frozen.groups.get(b"g")
    assert group is not None
    assert (len(group.pending), len(group.consumers), group.last_id) == (0, 0, (0, 0))
    assert group_names(server) == [b"g", b"h"]


def test_calls_of_a_container_need_memory_only_where_they_say_so() -> None:
    server = Server()
    session = server.session()
    run(session, "XGROUP", "CREATE", "k", "g", 0, "MKSTREAM")
    server.state.config.maxmemory = 1
    server.state.memory.configure()
    refused = run(session, "XGROUP", "CREATE", "k", "h", 0)
    assert isinstance(refused, Error)
    assert refused.text.startswith("OOM")
    assert run(session, "XGROUP", "DESTROY", "k", "g") == 1
