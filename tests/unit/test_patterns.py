"""A pattern matches what it matches in redis-server, and none takes long."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.servers import ServerProcess, Wire
from kvserver.patterns import is_literal, key_matcher, matcher

# --- The same as the real redis-server ---

TEXTS = [
    *(
        b"",
        b"a",
        b"b",
        b"A",
        b"ab",
        b"ba",
        b"aa",
        b"aab",
        b"abab",
        b"abcabc",
        b"a.b",
        b"a*b",
        b"a?b",
        b"a[b]",
        b"[",
        b"]",
        b"^",
    ),
    *(b"-", b"\\", b"a\\b", b"*", b"**", b"?", b"z", b"Z", b"user:1", b"user:10:name", b"user:2", b"x" * 40, b"ab" * 20),
    *(
        b"\x00",
        b"a\x00b",
        b"\x7f",
        b"\x80",
        b"\xff",
        b"a\xffb",
        "é".encode(),
        b"\n",
        b"a\nb",
        b"@",
        b"`",
        b"{",
        b"aXbXc",
        b"axbxc",
    ),
]
PATTERN_BYTES = b"aabbcxyzAZ**????[[[]]]^^--\\\\.:1\x00\x7f\x80\xff\n"
patterns = st.lists(st.sampled_from(sorted(PATTERN_BYTES)), max_size=10).map(bytes)
texts = st.sampled_from(TEXTS)


@st.composite
def patterns_of_a_text(draw: st.DrawFn) -> bytes:
    """A text with some of it replaced by what stands for it: such a pattern has a chance to match."""
    pieces = []
    shapes = [b"%b", b"%b", b"\\%b", b"[%b]", b"[^%b]", b"[a-%b]", b"[%b-z]", b"[\\%b]"]
    for byte in draw(texts):
        spelled = [shape % bytes([byte]) for shape in shapes]
        pieces.append(draw(st.sampled_from([*spelled, b"?", b"*", b"**", b""])))
    return b"".join(pieces)


@pytest.fixture(scope="module")
def oracle(running_redis: ServerProcess) -> Iterator[Wire]:
    with running_redis.connect() as wire:
        wire.command("FLUSHALL")
        for text in TEXTS:
            wire.command("SET", text, "v")
        yield wire


def ours(pattern: bytes) -> set[bytes]:
    if pattern == b"*":  # KEYS asks for it first, too
        return set(TEXTS)
    return set(filter(matcher(pattern), TEXTS))


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            b"",
            b"*",
            b"**",
            b"?",
            b"??",
            b"?*",
            b"*?",
            b"*?*",
            b"a",
            b"a*",
            b"*b",
            b"a*b",
            b"*a*",
            b"a**b",
            b"*a*b*",
            b"user:*",
        ),
        *(b"user:?", b"user:*:name", b"*:*:*", b"h[a]", b"[ab]", b"[^a]", b"[^a]*", b"[a-c]*", b"[c-a]*", b"[", b"[^", b"[a"),
        *(
            b"[a-",
            b"[a-]",
            b"[a-]b]",
            b"[]",
            b"[]a]",
            b"[^]",
            b"[\\]]",
            b"[\\]",
            b"[\\",
            b"\\",
            b"\\*",
            b"\\?",
            b"\\\\",
            b"a\\",
        ),
        *(
            b"[a-\\]",
            b"[\\a-z]",
            b"[*]",
            b"[?]",
            b"*[b]",
            b"[\x7f-\x80]",
            b"[a-\xff]",
            b"[\x00-\xff]",
            b"[^\x80-a]",
            b"a\x00*",
        ),
        *(b"\\a\\b", b"*\\", b"*[", b"*[^", b"[^^]", b"[-a]", b"[--a]", b"[a-b-c]", b"a*?", b"*x*x*x*", b"x" * 40, b"x" * 41),
    ],
)
def test_pattern_matches_what_it_matches_in_redis(oracle: Wire, pattern: bytes) -> None:
    assert ours(pattern) == set(oracle.value("KEYS", pattern))


@settings(max_examples=1500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pattern=patterns | patterns_of_a_text())
def test_any_pattern_matches_what_it_matches_in_redis(oracle: Wire, pattern: bytes) -> None:
    assert ours(pattern) == set(oracle.value("KEYS", pattern))


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pattern=st.text("aeAEgtGTs*?[]^-\\|Zz@_", max_size=8).map(str.encode))
def test_case_is_ignored_as_redis_does_for_names(oracle: Wire, pattern: bytes) -> None:
    names = oracle.value("COMMAND", "LIST")
    theirs = oracle.value("COMMAND", "LIST", "FILTERBY", "PATTERN", pattern)
    assert set(filter(matcher(pattern, ignore_case=True), names)) == set(theirs)


# --- What is better said one by one ---


@pytest.mark.parametrize("pattern", [b"", b"a", b"user:1", b"]", b"^-", b"\xff\x00"])
def test_pattern_without_a_special_byte_is_literal(pattern: bytes) -> None:
    assert is_literal(pattern)
    assert matcher(pattern)(pattern)
    assert not matcher(pattern)(pattern + b"a")


def test_lone_star_stands_for_all_keys() -> None:
    assert key_matcher(b"*")(b"")
    assert key_matcher(b"*")(b"k")
    assert not key_matcher(b"**")(b"")
    assert key_matcher(b"a*")(b"ab")
    assert not key_matcher(b"a*")(b"b")


@pytest.mark.parametrize("pattern", [b"*", b"a?", b"[a]", b"\\a"])
def test_pattern_with_a_special_byte_is_not_literal(pattern: bytes) -> None:
    assert not is_literal(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        b"*a" * 5_000 + b"b",
        b"*?" * 5_000 + b"b",
        b"*[ab]" * 5_000 + b"c",
        b"*" * 100_000 + b"b",
        b"*" + b"[ab]" * 2_000 + b"*b",
        b"*" + b"?a" * 1_000 + b"b*",
        b"a*" * 10_000 + b"[^a]",
    ],
    ids=lambda pattern: repr(pattern[:8]),
)
def test_no_pattern_takes_long(pattern: bytes) -> None:
    text = b"a" * 20_000
    started_at = time.process_time()
    assert not matcher(pattern)(text)
    assert time.process_time() - started_at < 2  # backtracking would take years, stars times text minutes
