"""The size of the radix tree is that of redis-server, whatever order the keys came and went in."""

from __future__ import annotations

import random

from helpers.servers import ServerProcess
from kvserver.types.stream.ids import text_of
from kvserver.types.stream.radix import count_nodes


def test_tree_has_as_many_nodes_as_in_redis(running_redis: ServerProcess) -> None:
    rng = random.Random(3)
    with running_redis.connect() as wire:
        wire.command("CONFIG", "SET", "stream-node-max-entries", "1")
        try:
            for most in (256, 2**16, 2**40, 2**63):
                ids = sorted({(rng.randint(1, most), rng.choice((0, 1, rng.randint(0, most)))) for _ in range(40)})
                wire.command("DEL", "k")
                for identity in ids:
                    wire.command("XADD", "k", text_of(identity), "f", "v")
                while True:
                    told = wire.value("XINFO", "STREAM", "k")
                    assert told[told.index(b"radix-tree-keys") + 1] == len(ids)
                    assert told[told.index(b"radix-tree-nodes") + 1] == count_nodes(ids)
                    if not ids:
                        break
                    for identity in rng.sample(ids, min(len(ids), 10)):
                        ids.remove(identity)
                        wire.command("XDEL", "k", text_of(identity))
        finally:
            wire.command("CONFIG", "SET", "stream-node-max-entries", "100")


def test_tree_of_no_keys_has_its_root() -> None:
    assert count_nodes([]) == 1
    assert count_nodes([(1, 1)]) == 2
