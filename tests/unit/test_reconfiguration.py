"""CONFIG SET is carried out by the part that it concerns; what a server within a program may not touch stays as it is."""

from __future__ import annotations

import logging
import re
import resource
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
