"""The payload of FUNCTION DUMP is redis-server's, byte for byte, and damage of it is refused in its words."""

from __future__ import annotations

import pytest

from helpers.dumps import compressed, sealed
from helpers.servers import ServerProcess, parse
from kvserver._speedups.rdb_strings import write_string
from kvserver.errors import DumpInvalid
from kvserver.formats.function_dump import dump, load

TEXT = b"#!lua name=mylib\nredis.register_function('f', function() return 1 end)"
OTHER = b"#!lua name=other\nredis.register_function('g', function() return '\xff\0' end)"
EARLY = b"\xf6" + write_string(b"mylib") + write_string(b"lua")
LIMIT = 1 << 20


def test_payload_is_that_of_redis_server(redis_oracle: ServerProcess) -> None:
    with redis_oracle.connect() as wire:
        assert wire.command("CONFIG", "SET", "rdbcompression", "no") == b"+OK\r\n"
        assert wire.value("FUNCTION", "DUMP") == dump([])
        assert wire.command("FUNCTION", "RESTORE", dump([TEXT])) == b"+OK\r\n"
        assert wire.value("FUNCTION", "DUMP") == dump([TEXT])
        assert wire.command("FUNCTION", "RESTORE", dump([TEXT, OTHER]), "REPLACE") == b"+OK\r\n"
        assert sorted(load(wire.value("FUNCTION", "DUMP"), LIMIT)) == [TEXT, OTHER]
        assert wire.command("CONFIG", "SET", "rdbcompression", "yes") == b"+OK\r\n"
        long = TEXT + b"\n-- " + b"x" * 1000
        assert wire.command("FUNCTION", "LOAD", "REPLACE", long) == b"$5\r\nmylib\r\n"
        assert sorted(load(wire.value("FUNCTION", "DUMP"), LIMIT)) == [long, OTHER]
        assert wire.command("FUNCTION", "FLUSH") == b"+OK\r\n"


@pytest.mark.parametrize("texts", [[], [TEXT], [TEXT, OTHER], [b""], [b"12"], [b"x" * 20_000]])
def test_texts_come_back(texts: list[bytes]) -> None:
    assert list(load(dump(texts), LIMIT)) == texts


def test_compressed_text_is_read_up_to_the_limit() -> None:
    text = TEXT + b" " * 1000
    assert list(load(sealed(b"\xf5" + compressed(text)[1:]), len(text))) == [text]
    with pytest.raises(DumpInvalid, match=r"^Failed loading library payload$"):
        list(load(sealed(b"\xf5" + compressed(text)[1:]), len(text) - 1))


def test_compressed_texts_are_read_up_to_the_limit_together() -> None:
    text = TEXT + b" " * 1000
    part = b"\xf5" + compressed(text)[1:]
    assert list(load(sealed(part * 2), 2 * len(text))) == [text] * 2
    texts = load(sealed(part * 2), 2 * len(text) - 1)
    assert next(texts) == text
    with pytest.raises(DumpInvalid, match=r"^Failed loading library payload$"):
        next(texts)
    # What is not compressed is as long as the payload is.
    assert list(load(dump([text] * 3), len(text))) == [text] * 3


def test_early_form_is_read_up_to_the_limit_too() -> None:
    description, code = compressed(b"d" * 1000)[1:], compressed(b"c" * 1000)[1:]
    payload = sealed(EARLY + b"\1" + description + code)
    assert list(load(payload, 2100)) == [b"#!lua name=mylib\n" + b"c" * 1000]
    with pytest.raises(DumpInvalid, match=r"^Failed loading library blob$"):
        list(load(payload, 1999))


def test_form_of_the_release_candidates_is_read() -> None:
    code = write_string(b"redis.register_function('f', f)\0x")
    expected = [b"#!lua name=mylib\nredis.register_function('f', f)"]
    assert list(load(sealed(EARLY + b"\0" + code), LIMIT)) == expected
    assert list(load(sealed(EARLY + b"\1" + write_string(b"what it does") + code), LIMIT)) == expected


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"\0\1a", "given type is not a function"),
        (b"\xf5", "Failed loading library payload"),
        (b"\xf5\x7f\xffabc", "Failed loading library payload"),
        (b"\xf5\x01a\0", "given type is not a function"),
        (b"\xf6", "Failed loading library name"),
        (b"\xf6\x01n", "Failed loading engine name"),
        (EARLY, "Failed loading library description indicator"),
        (EARLY + b"\1", "Failed loading library description"),
        (EARLY + b"\0", "Failed loading library blob"),
    ],
)
def test_damage_is_told(body: bytes, text: str) -> None:
    with pytest.raises(DumpInvalid, match=f"^{text}$"):
        list(load(sealed(body), LIMIT))


@pytest.mark.parametrize("payload", [b"", b"x", dump([TEXT])[:-1], dump([TEXT])[:-1] + b"x", sealed(b"", 99)])
def test_wrong_footer_is_told(payload: bytes, redis_oracle: ServerProcess) -> None:
    with pytest.raises(DumpInvalid, match=r"^DUMP payload version or checksum are wrong$"):
        list(load(payload, LIMIT))
    assert parse(redis_oracle.once("FUNCTION", "RESTORE", payload)).args[0].startswith("ERR DUMP payload version or checksum")
