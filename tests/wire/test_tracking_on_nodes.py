"""Client-side caching on nodes that share an engine: clients of a standby are told of what the primary writes."""

from __future__ import annotations

from pathlib import Path

from helpers.nodes import Nodes
from helpers.servers import Wire, encode

ALL = b">2\r\n$10\r\ninvalidate\r\n_\r\n"


def of(key: str) -> bytes:
    return b">2\r\n$10\r\ninvalidate\r\n*1\r\n" + encode(key)[4:]


def test_client_of_a_standby_is_told_of_all_that_the_primary_writes(tmp_path: Path) -> None:
    with Nodes(tmp_path, f"file:{tmp_path}/engine", count=2, lease_ms=500) as nodes:
        primary = nodes.primary()
        (standby,) = (node for node in nodes.nodes if node is not primary)
        with primary.connect() as writer, Wire(standby.port) as reader:
            reader.command("HELLO", 3)
            assert reader.command("CLIENT", "TRACKING", "ON") == b"+OK\r\n"
            for key, words in (
                ("k", ("SET", "k", 1)),
                ("k", ("EVAL", "redis.call('set', 'k', 2)", 0)),
                ("k", ("PEXPIRE", "k", 1000)),
                # Its time has come, and the log says so.
                ("k", ("PING",)),
            ):
                reader.command("GET", key)
                writer.command(*words)
                assert reader.read_reply() == of(key), words
            assert reader.command("GET", "k") == b"_\r\n"
            writer.command("SET", "k", 1)
            assert reader.read_reply() == of("k")
            writer.command("FLUSHALL")
            assert reader.read_reply() == ALL
            # It is told by the node that leads as well, once that is its own.
            reader.command("GET", "k")
            primary.kill()
            assert nodes.primary() is standby
            with standby.connect() as successor:
                successor.command("SET", "k", 2)
            assert reader.read_reply() == of("k")
