"""Long commands on documents leave nobody waiting for ever: on a real server, with others who write all the time."""

from __future__ import annotations

import threading
from contextlib import suppress

import orjson
import pytest

from helpers.servers import ServerProcess, Wire

WRITERS = 4
TEXT = orjson.dumps({"l": [{"x": number, "s": "text"} for number in range(20_000)]})


class Writer(threading.Thread):
    """It sets a long document of its own, again and again, until its connection is closed."""

    def __init__(self, port: int, number: int) -> None:
        super().__init__(daemon=True)
        self.wire = Wire(port)
        self.number = number
        self.done = 0

    def run(self) -> None:
        with suppress(OSError, EOFError, ValueError):
            while True:
                assert self.wire.command("JSON.SET", f"k{self.number}", "$", TEXT) == b"+OK\r\n"
                self.done += 1


@pytest.mark.parametrize(
    "words",
    [
        [("EVAL", "return 1", "0")],
        [("FLUSHDB",)],
        [("MULTI",), ("SELECT", "0"), ("SET", "u", "1"), ("EXEC",)],
        [("JSON.NUMINCRBY", "k0", "$.l[*].x", "1")],
    ],
    ids=lambda words: words[0][0],
)
def test_who_waits_for_keys_comes_before_those_who_come_later(kvserver: ServerProcess, words: list[tuple[str, ...]]) -> None:
    writers = [Writer(kvserver.port, number) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        with kvserver.connect() as wire:
            while not all(writer.done for writer in writers):
                assert wire.command("PING") == b"+PONG\r\n"
            before = sum(writer.done for writer in writers)
            for each in words:
                wire.command(*each)
            # Those that had begun have ended, and of the others each may have had its turn once.
            assert sum(writer.done for writer in writers) - before <= 3 * WRITERS
    finally:
        for writer in writers:
            writer.wire.close()
            writer.join(20)
