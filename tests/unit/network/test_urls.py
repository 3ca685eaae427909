"""The URL and the address of a server are those by which clients on its machine find it."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from kvserver.network.urls import address_of, port_of, url_of
from kvserver.options.keywords import from_keywords


@pytest.mark.parametrize(
    ("options", "url", "address", "port"),
    [
        ({"port": 6379}, "redis://127.0.0.1:6379/0", "127.0.0.1:6379", 6379),
        ({"port": 1, "requirepass": "a:b@c/d é"}, "redis://:a%3Ab%40c%2Fd%20%C3%A9@127.0.0.1:1/0", "127.0.0.1:1", 1),
        ({"port": 1, "bind": "::1"}, "redis://[::1]:1/0", "[::1]:1", 1),
        ({"port": 1, "bind": "* ::*"}, "redis://127.0.0.1:1/0", "127.0.0.1:1", 1),
        ({"port": 1, "bind": "-::*"}, "redis://[::1]:1/0", "[::1]:1", 1),
        ({"tls_port": 2}, "rediss://127.0.0.1:2/0", "127.0.0.1:2", 2),
        ({"tls_port": 2, "port": 1}, "redis://127.0.0.1:1/0", "127.0.0.1:1", 1),
        ({"unixsocket": "/tmp/a b"}, "unix:///tmp/a%20b?db=0", "/tmp/a b", 0),
        ({"unixsocket": "/tmp/s", "requirepass": "x"}, "unix://:x@/tmp/s?db=0", "/tmp/s", 0),
        ({"unixsocket": "/tmp/s", "port": 1}, "redis://127.0.0.1:1/0", "127.0.0.1:1", 1),
    ],
)
def test_url_address_and_port(options: dict[str, Any], url: str, address: str, port: int) -> None:
    config = from_keywords(options)
    assert (url_of(config), address_of(config), port_of(config)) == (url, address, port)


def test_client_library_reads_the_url_as_it_is_meant() -> None:
    config = from_keywords({"port": 6379, "bind": "::1", "requirepass": "a:b@c/d é"})
    with redis.Redis.from_url(url_of(config)) as client:
        given = client.connection_pool.connection_kwargs
    assert (given["host"], given["port"], given["password"], given["db"]) == ("::1", 6379, "a:b@c/d é", 0)
