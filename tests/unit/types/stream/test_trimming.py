"""What a stream is trimmed to, as XADD and XTRIM are told it. The case file compares the errors with redis-server."""

from __future__ import annotations

import pytest

from helpers.sessions import Server
from kvserver.errors import CommandError
from kvserver.types.stream.trimming import Addition, Trim, read_addition, read_trim


def words(text: str) -> list[bytes]:
    return text.encode().split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("XADD k MAXLEN ~ 5 * f v", Addition(6, True, Trim(5, None, False, 10_000), None, False)),
        ("XADD k maxlen ~ 5 LIMIT 7 * f v", Addition(8, True, Trim(5, None, False, 7), None, False)),
        ("XADD k MAXLEN ~ 5 LIMIT 0 5-* f v", Addition(8, True, Trim(5, None, False, 0), (5, 0), True)),
        ("XADD k MAXLEN 5 5-3 f v", Addition(5, True, Trim(5, None, True, 0), (5, 3), False)),
        ("XADD k NOMKSTREAM MINID = 5 7 f v", Addition(7, False, Trim(None, (5, 0), True, 0), (7, 0), False)),
        ("XADD k 7-1 f v", Addition(3, True, None, (7, 1), False)),
    ],
)
def test_addition_is_read(text: str, expected: Addition) -> None:
    session = Server().session()
    assert read_addition(session, words(text)) == expected


def test_trim_has_the_limit_of_a_hundred_nodes() -> None:
    session = Server().session()
    config = session.server.config
    for entries, limit in ((100, 10_000), (3, 300), (0, 10_000), (10**7, 1_000_000)):
        config.stream_node_max_entries = entries
        for text in ("XTRIM k MAXLEN ~ 5", "XTRIM k MINID ~ 5"):
            assert read_trim(session, words(text)).limit == limit
    assert read_trim(session, words("XTRIM k MAXLEN 5")) == Trim(5, None, True, 0)


@pytest.mark.parametrize("text", ["XTRIM k MAXLEN ~ -1", "XTRIM k MAXLEN ~ x", "XTRIM k 5 5", "XTRIM k LIMIT 1"])
def test_trim_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(CommandError):
        read_trim(Server().session(), words(text))
