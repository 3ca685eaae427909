"""CONFIG SET is carried out by the part that it concerns; what a server within a program may not touch stays as it is."""

from __future__ import annotations

import logging
import re
import resource
import socket
from pathlib import Path

import pytest
import redis

import kvserver
from kvserver.reconfiguration import LISTENING


def test_new_port_is_listened_on_and_one_in_use_leaves_the_old_one() -> None:
    with kvserver.running() as taken, kvserver.running() as server:
        before = server.port
        with redis.Redis.from_url(server.url) as client:
            with pytest.raises(redis.ResponseError, match=re.escape(LISTENING["port"])):
                client.config_set("port", taken.port)
            assert server.port == before
            client.config_set("port", "auto")
        assert server.port != before
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()


def answers(port: int, host: str, target: str = "/healthz") -> bool:
    try:
        with socket.create_connection((host, port)) as raw_socket:
            raw_socket.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            return raw_socket.recv(12) == b"HTTP/1.1 200"
    except ConnectionRefusedError:
        return False


def test_http_port_follows_bind() -> None:
    with kvserver.running(bind="127.0.0.1 127.0.0.2", http_port="auto") as server, redis.Redis.from_url(server.url) as client:
        port = int(client.config_get("http-port")["http-port"])
        assert (answers(port, "127.0.0.1"), answers(port, "127.0.0.2")) == (True, True)
        for bind, has_other in (("127.0.0.1", False), ("*", True), ("127.0.0.1", False)):
            client.config_set("bind", bind)
            assert (answers(port, "127.0.0.1"), answers(port, "127.0.0.2")) == (True, has_other)
        with socket.create_server(("127.0.0.2", port)), pytest.raises(redis.ResponseError, match="Failed to bind"):
            client.config_set("bind", "127.0.0.1 127.0.0.2")
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
        assert answers(port, "127.0.0.1")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", server.port))
        assert answers(port, "127.0.0.1", "http://127.0.0.1/healthz?x")
    assert not answers(port, "127.0.0.1")


def test_level_of_the_log_and_limit_of_open_files_stay_the_programs() -> None:
    log, limit = logging.getLogger("kvserver"), resource.getrlimit(resource.RLIMIT_NOFILE)
    before = log.level, list(log.handlers)
    with kvserver.running() as server, redis.Redis.from_url(server.url) as client:
        client.config_set("loglevel", "debug")
        client.config_set("maxclients", limit[0] + 1000)
        assert client.config_get("loglevel") == {"loglevel": "debug"}
    assert (log.level, log.handlers) == before
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limit


def test_slow_commands_and_events_are_watched_from_then_on(tmp_path: Path) -> None:
    with kvserver.running(slowlog_log_slower_than=-1) as server, redis.Redis.from_url(server.url) as client:
        client.set("a", 1)
        assert client.slowlog_len() == 0
        client.config_set("slowlog-log-slower-than", 0)
        client.set("a", 1)
        assert client.slowlog_len() > 0
