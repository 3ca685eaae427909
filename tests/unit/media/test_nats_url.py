"""The URL of a medium in NATS."""

from __future__ import annotations

import re

import pytest

from kvserver.errors import MediumError
from kvserver.media.nats_url import Login, NatsUrl, parse_nats_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("nats://one/kv", NatsUrl(("one:4222",), "kv", Login())),
        (
            "nats://one:1,two,[::1]:7,[fe80::1]/a_B-9",
            NatsUrl(("one:1", "two:4222", "[::1]:7", "[fe80::1]:4222"), "a_B-9", Login()),
        ),
        ("tls://one/kv", NatsUrl(("one:4222",), "kv", Login(is_tls=True))),
        ("nats://me:p%40ss%3A@one/kv", NatsUrl(("one:4222",), "kv", Login("me", "p@ss:"))),
        ("nats://me:@one/kv", NatsUrl(("one:4222",), "kv", Login("me"))),
        ("nats://s3cr%2Ft@one/kv", NatsUrl(("one:4222",), "kv", Login(token="s3cr/t"))),
        # Nobody has quoted these.
        ("nats://me:p/a?s#s@@one/kv", NatsUrl(("one:4222",), "kv", Login("me", "p/a?s#s@"))),
        ("nats://one/kv?replicas=3", NatsUrl(("one:4222",), "kv", Login(), replicas=3)),
        (
            "nats://one/kv?replicas=1&monitor=one,two:99",
            NatsUrl(("one:4222",), "kv", Login(), replicas=1, monitors=("one:8222", "two:99")),
        ),
        ("tls://one/kv?ca=/a%20b/ca.pem", NatsUrl(("one:4222",), "kv", Login(is_tls=True, ca="/a b/ca.pem"))),
    ],
)
def test_url_says_what_it_says(url: str, expected: NatsUrl) -> None:
    assert parse_nats_url(url) == expected


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://one/kv", "http:// is no URL of NATS: that is nats://host:4222/name, or tls://"),
        ("nats://one", "nats://one/: the name has to be 1 to 64 letters, digits, _ or -, as in nats://host:4222/name"),
        ("nats://one/", "nats://one/: the name has to be"),
        ("nats://one/a.b", "nats://one/a.b: the name has to be"),
        ("nats://one/a/b", "nats://one/a/b: the name has to be"),
        ("nats://one/a%20b", "nats://one/a%20b: the name has to be"),
        ("nats://one/" + "x" * 65, "the name has to be 1 to 64"),
        ("nats:///kv", "nats:///kv: '' is no host, nor host:port"),
        ("nats://one,/kv", "nats://one,/kv: '' is no host"),
        ("nats://one:0/kv", "nats://one:0/kv: 'one:0' is no host"),
        ("nats://one:65536/kv", "'one:65536' is no host"),
        ("nats://one:x/kv", "'one:x' is no host"),
        ("nats://one/kv?replicas=0", "nats://one:4222/kv: replicas=0 is no number from 1 to 5"),
        ("nats://one/kv?replicas=many", "replicas=many is no number"),
        ("nats://one/kv?replicas=", "replicas= is no number"),
        ("nats://one/kv?lease=3", "nats://one:4222/kv: there is no parameter lease, but ca, monitor, replicas"),
        ("nats://one/kv?monitor=a:b", "'a:b' is no host"),
        ("nats://one/kv?ca=/ca.pem", "nats://one:4222/kv: ca= is for tls:// alone"),
    ],
)
def test_wrong_url_is_told_of_in_one_line(url: str, told: str) -> None:
    with pytest.raises(MediumError) as failure:
        parse_nats_url(url)
    assert told in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    "rest", ["one/a.b", "one:x/kv", "one/kv?replicas=x", "one/kv?x=1", "/kv", "one/kv?monitor=:"], ids=lambda rest: f"={rest}"
)
def test_nothing_secret_is_told(rest: str) -> None:
    for login in ("me:hidden@", "hidden@", *(f"me:hid{mark}den@" for mark in "/?#@:")):
        for scheme in ("nats://", "nats:", "http://", ""):
            with pytest.raises(MediumError) as failure:
                parse_nats_url(f"{scheme}{login}{rest}")
            assert not re.search("hid|den", str(failure.value))
    assert "hidden" not in parse_nats_url("nats://me:hidden@one/kv").public
