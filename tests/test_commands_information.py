"""information: INFO has the sections that are asked for. (What is in them: test_commands_sections.)"""

from __future__ import annotations

import pytest
from servers import ServerProcess, parse
from sessions import Server, run

from kvserver.commands import info_command as information
from kvserver.resp.reply import Verbatim


def titles(text: bytes) -> list[str]:
    return [line[2:] for line in text.decode().split("\r\n") if line.startswith("# ")]


@pytest.mark.parametrize(
    "words", ["", "default", "ALL", "everything", "cpu Server", "nonsense", "nonsense cpu", "default commandstats", "cpu cpu"]
)
def test_sections_are_those_that_redis_gives(redis_oracle: ServerProcess, words: str) -> None:
    reply = run(Server().session(), "INFO", *words.split())
    assert isinstance(reply, Verbatim)
    assert titles(reply) == titles(parse(redis_oracle.once("INFO", *words.split())))


def test_calls_that_came_before_in_the_same_batch_are_counted() -> None:
    server = Server()
    session = server.session()
    before, asking, behind = [b"GET", b"k"], [b"INFO", b"commandstats"], [b"GET", b"k"]
    usages = server.state.usages
    usages.batch = [before, asking, behind]
    reply = information.info(session, asking)
    assert isinstance(reply, Verbatim)
    assert "cmdstat_get:calls=1," in reply.decode()
    assert usages.noted == 1
    again = information.info(session, asking)
    assert isinstance(again, Verbatim)
    assert "cmdstat_get:calls=1," in again.decode()
