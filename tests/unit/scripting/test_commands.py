"""EVAL and SCRIPT count keys and find scripts. What scripts do is compared in tests/wire/cases/scripts.txt."""

from __future__ import annotations

import hashlib

import pytest

from helpers.servers import ServerProcess
from helpers.sessions import Server, run, text
from kvserver.errors import CommandError
from kvserver.resp.reply import OK
from kvserver.scripting.commands import NO_DEBUGGER, NO_SCRIPT, count_of_keys


@pytest.mark.parametrize(("words", "count"), [("0", 0), ("1 k", 1), ("2 k l", 2), ("1 k a", 1)])
def test_keys_are_counted(words: str, count: int) -> None:
    assert count_of_keys([b"eval", b"return 1", *words.encode().split()]) == count


@pytest.mark.parametrize("words", ["1", "3 k l", "-1", "x", "1.0"])
def test_wrong_number_of_keys_is_refused(words: str) -> None:
    with pytest.raises(CommandError):
        count_of_keys([b"eval", b"return 1", *words.encode().split()])


def test_sha_that_nobody_loaded_is_refused() -> None:
    session = Server().session()
    for sha in ("0" * 40, "x", ""):
        assert text(run(session, "EVALSHA", sha, "0")) == NO_SCRIPT


def test_debugger_is_refused() -> None:
    session = Server().session()
    assert run(session, "SCRIPT", "DEBUG", "no") is OK
    assert text(run(session, "SCRIPT", "DEBUG", "yes")) == NO_DEBUGGER


def test_sha_in_capitals_is_found(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire:
        sha = wire.value("SCRIPT", "LOAD", "return ARGV[1]").decode()
        assert wire.value("EVALSHA", sha.upper(), 0, "x") == wire.value("EVALSHA_RO", sha, 0, "x") == b"x"
        assert wire.value("SCRIPT", "EXISTS", sha, sha.upper()) == [1, 1]
        assert wire.command("SCRIPT", "FLUSH") == b"+OK\r\n"
        assert wire.value("SCRIPT", "EXISTS", sha) == [0]


def test_scripts_in_use_and_loaded_ones_stay_where_others_come(kvserver: ServerProcess) -> None:
    def commented(number: int) -> str:
        return f"return {number} --{'x' * 5000}"

    with kvserver.connect() as wire:
        wire.command("SCRIPT", "FLUSH")
        wire.command("CONFIG", "SET", "lua-memory-limit", "1mb")
        loaded = wire.value("SCRIPT", "LOAD", commented(1))
        brought = [hashlib.sha1(commented(number).encode()).hexdigest() for number in range(2, 20)]
        for number in range(2, 20):
            assert wire.value("EVAL", commented(number), 0) == number
            assert wire.value("EVALSHA", brought[0], 0) == 2
        assert wire.value("SCRIPT", "EXISTS", loaded, brought[0], brought[1], brought[-1]) == [1, 1, 0, 1]
        assert wire.command("EVALSHA", brought[1], 0) == f"-{NO_SCRIPT}\r\n".encode()
        wire.command("CONFIG", "SET", "lua-memory-limit", "256mb")
        wire.command("SCRIPT", "FLUSH")
