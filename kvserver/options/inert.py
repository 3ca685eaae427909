"""The options of redis-server that mean nothing here: a row each, with Redis's name, kind, range and default.

They are taken from every source, checked, kept, shown and written back, so that configurations and tools made for Redis
work; nothing in the server asks for their values. Values that somebody would rely on (that data is copied or limited) are
refused. A start imports this module only if it is told one of these names.
"""

from __future__ import annotations

import re
from typing import Any

from kvserver.options.kinds import (
    INT_MAX,
    LONG_MAX,
    PATH,
    UINT_MAX,
    ULLONG_MAX,
    YES_NO,
    Kind,
    integer,
    memory_size,
    one_of,
)
from kvserver.options.table import FIXED, LIVE, Change, Option

# Redis takes any number, and keeps the nearest one in these ranges.
LEAST_HZ, MOST_HZ = 1, 500
LEAST_BACKLOG_BYTES = 16 * 1024
DEFRAG_NEEDS = (
    "Active defragmentation cannot be enabled: it requires a Redis server compiled with a modified Jemalloc like the one "
    "shipped by default with the Redis source distribution"
)


def only(kind: Kind, default: str, reason: str) -> Kind:
    """A kind that takes the default alone, and refuses other values of the given kind with the reason."""

    def parse(text: str) -> Any:
        value = kind.parse(text)
        if value != kind.parse(default):
            raise ValueError(reason)
        return value

    return kind._replace(parse=parse, choices=(), refusal=reason)


def _parse_size_or_percent(text: str) -> str:
    if match := re.fullmatch(r"([0-9]{1,18})%", text):
        if int(match[1]) > 100:
            raise ValueError("percentage argument must be less or equal to 100")
        return f"{int(match[1])}%" if int(match[1]) else "0"
    try:
        return str(memory_size(0, ULLONG_MAX).parse(text))
    except ValueError:
        raise ValueError("argument must be a memory or percent value") from None


def _parse_shutdown_flags(text: str) -> str:
    names = ("default", "save", "nosave", "now", "force")
    words = text.lower().split()
    if not words or not set(words) <= set(names):
        raise ValueError(f"argument(s) must be one of the following: {', '.join(names)}")
    if {"save", "nosave"} <= set(words):
        raise ValueError("shutdown options SAVE and NOSAVE can't be used simultaneously")
    return " ".join(name for name in names[1:] if name in words) or "default"


def _parse_oom_scores(text: str) -> str:
    words = text.split(" ")
    if len(words) != 3 or not text:
        raise ValueError("wrong number of arguments")
    if not all(re.fullmatch(r"-?[0-9]{1,4}", word) and abs(int(word)) <= 2000 for word in words):
        raise ValueError("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")
    return " ".join(str(int(word)) for word in words)


def _parse_host_name(text: str) -> str:
    if len(text) >= 256:
        raise ValueError("Hostnames must be less than 256 characters")
    if not re.fullmatch(r"[A-Za-z0-9.-]*", text):
        raise ValueError("Hostnames may only contain alphanumeric characters, hyphens or dots")
    return text


def _parse_title(text: str) -> str:
    known = "title|listen-addr|server-mode|port|tls-port|unixsocket|config-file"
    if not text or re.search(r"[{}]", re.sub(rf"\{{({known})\}}", "", text)):
        raise ValueError("template format is invalid or contains unknown variables")
    return text


_PORT, _COUNT, _LONG, _SIZE = integer(0, 65535), integer(0, INT_MAX), integer(0, LONG_MAX), memory_size(0, LONG_MAX)
_PERCENT, _CYCLE, _SECONDS = integer(0, 1000), integer(1, 99), integer(1, INT_MAX)
_HZ = _COUNT._replace(parse=lambda text: min(max(_COUNT.parse(text), LEAST_HZ), MOST_HZ))
_BACKLOG = _SIZE._replace(parse=lambda text: max(memory_size(1, LONG_MAX).parse(text), LEAST_BACKLOG_BYTES))
_FACILITY = one_of("user", *(f"local{number}" for number in range(8)))
_SHUTDOWN = Kind("WORD ...", _parse_shutdown_flags, toml_type=list)
_OOM_SCORES = Kind("NUMBER NUMBER NUMBER", _parse_oom_scores, toml_type=list)
_OOM_SCORE = one_of("no", "yes", "relative", "absolute")._replace(show=lambda word: "yes" if word == "relative" else word)
_CLIENTS_MEMORY = only(Kind("BYTES", _parse_size_or_percent, toml_type=int), "0", "client eviction is not supported here")


def _row(name: str, change: Change, kind: Kind, default: str, alias: str = "") -> Option:
    return Option(name, change, kind, default, "", alias)


# fmt: off
INERT: tuple[Option, ...] = (
    _row("active-defrag-cycle-max", LIVE, _CYCLE, "25"),
    _row("active-defrag-cycle-min", LIVE, _CYCLE, "1"),
    _row("active-defrag-ignore-bytes", LIVE, memory_size(1, LONG_MAX), "100mb"),
    _row("active-defrag-max-scan-fields", LIVE, integer(1, LONG_MAX), "1000"),
    _row("active-defrag-threshold-lower", LIVE, _PERCENT, "10"),
    _row("active-defrag-threshold-upper", LIVE, _PERCENT, "100"),
    _row("active-expire-effort", LIVE, integer(1, 10), "1"),
    _row("activedefrag", LIVE, only(YES_NO, "no", DEFRAG_NEEDS), "no"),
    _row("activerehashing", LIVE, YES_NO, "yes"),
    _row("always-show-logo", FIXED, YES_NO, "no"),
    _row("aof-disable-auto-gc", LIVE, YES_NO, "no"),
    _row("aof-load-truncated", LIVE, only(YES_NO, "yes", "a torn journal never keeps the server from starting"), "yes"),
    _row("aof-rewrite-incremental-fsync", LIVE, YES_NO, "yes"),
    _row("aof-timestamp-enabled", LIVE, YES_NO, "no"),
    _row("aof-use-rdb-preamble", LIVE, YES_NO, "yes"),
    _row("aof_rewrite_cpulist", FIXED, PATH, ""),
    _row("appenddirname", FIXED, PATH, "appendonlydir"),
    _row("appendfilename", FIXED, PATH, "appendonly.aof"),
    _row("bgsave_cpulist", FIXED, PATH, ""),
    _row("bind-source-addr", LIVE, PATH, ""),
    _row("bio_cpulist", FIXED, PATH, ""),
    _row("cluster-allow-pubsubshard-when-down", LIVE, YES_NO, "yes"),
    _row("cluster-allow-reads-when-down", LIVE, YES_NO, "no"),
    _row("cluster-allow-replica-migration", LIVE, YES_NO, "yes"),
    _row("cluster-announce-bus-port", LIVE, _PORT, "0"),
    _row("cluster-announce-hostname", LIVE, Kind("NAME", _parse_host_name), ""),
    _row("cluster-announce-ip", LIVE, PATH, ""),
    _row("cluster-announce-port", LIVE, _PORT, "0"),
    _row("cluster-announce-tls-port", LIVE, _PORT, "0"),
    _row("cluster-config-file", FIXED, PATH, "nodes.conf"),
    _row("cluster-enabled", FIXED, only(YES_NO, "no", "there is no cluster mode"), "no"),
    _row("cluster-link-sendbuf-limit", LIVE, memory_size(0, ULLONG_MAX), "0"),
    _row("cluster-migration-barrier", LIVE, _COUNT, "1"),
    _row("cluster-node-timeout", LIVE, _LONG, "15000"),
    _row("cluster-port", FIXED, _PORT, "0"),
    _row("cluster-preferred-endpoint-type", LIVE, one_of("ip", "hostname", "unknown-endpoint"), "ip"),
    _row("cluster-replica-no-failover", LIVE, YES_NO, "no", "cluster-slave-no-failover"),
    _row("cluster-replica-validity-factor", LIVE, _COUNT, "10", "cluster-slave-validity-factor"),
    _row("cluster-require-full-coverage", LIVE, YES_NO, "yes"),
    _row("crash-log-enabled", LIVE, YES_NO, "yes"),
    _row("crash-memcheck-enabled", LIVE, YES_NO, "yes"),
    _row("daemonize", FIXED, only(YES_NO, "no", "it always stays in the foreground"), "no"),
    _row("disable-thp", FIXED, YES_NO, "yes"),
    _row("dynamic-hz", LIVE, YES_NO, "yes"),
    _row("enable-module-command", FIXED, only(one_of("no", "yes", "local"), "no", "there are no modules"), "no"),
    _row("hz", LIVE, _HZ, "10"),
    _row("ignore-warnings", LIVE, PATH, ""),
    _row("io-threads", FIXED, integer(1, 128), "1"),
    _row("io-threads-do-reads", FIXED, YES_NO, "no"),
    _row("jemalloc-bg-thread", LIVE, YES_NO, "yes"),
    _row("lazyfree-lazy-eviction", LIVE, YES_NO, "no"),
    _row("lazyfree-lazy-expire", LIVE, YES_NO, "no"),
    _row("lazyfree-lazy-server-del", LIVE, YES_NO, "no"),
    _row("lazyfree-lazy-user-del", LIVE, YES_NO, "no"),
    _row("lazyfree-lazy-user-flush", LIVE, YES_NO, "no"),
    _row("list-compress-depth", LIVE, _COUNT, "0"),
    _row("list-max-listpack-size", LIVE, integer(-INT_MAX - 1, INT_MAX), "-2", "list-max-ziplist-size"),
    _row("maxmemory-clients", LIVE, _CLIENTS_MEMORY, "0"),
    _row("min-replicas-max-lag", LIVE, _COUNT, "10", "min-slaves-max-lag"),
    _row("min-replicas-to-write", LIVE, only(_COUNT, "0", "there are no replicas"), "0", "min-slaves-to-write"),
    _row("no-appendfsync-on-rewrite", LIVE, YES_NO, "no"),
    _row("oom-score-adj", LIVE, _OOM_SCORE, "no"),
    _row("oom-score-adj-values", LIVE, _OOM_SCORES, "0 200 800"),
    _row("pidfile", FIXED, only(PATH, "", "there is no file of the process's number"), ""),
    _row("proc-title-template", LIVE, Kind("TEXT", _parse_title), "{title} {listen-addr} {server-mode}"),
    _row("propagation-error-behavior", LIVE, one_of("ignore", "panic", "panic-on-replicas"), "ignore"),
    _row("rdb-del-sync-files", LIVE, YES_NO, "no"),
    _row("rdb-save-incremental-fsync", LIVE, YES_NO, "yes"),
    _row("rdbchecksum", FIXED, YES_NO, "yes"),
    _row("rdbcompression", LIVE, YES_NO, "yes"),
    _row("repl-backlog-size", LIVE, _BACKLOG, "1mb"),
    _row("repl-backlog-ttl", LIVE, _LONG, "3600"),
    _row("repl-disable-tcp-nodelay", LIVE, YES_NO, "no"),
    _row("repl-diskless-load", LIVE, one_of("disabled", "on-empty-db", "swapdb"), "disabled"),
    _row("repl-diskless-sync", LIVE, YES_NO, "yes"),
    _row("repl-diskless-sync-delay", LIVE, _COUNT, "5"),
    _row("repl-diskless-sync-max-replicas", LIVE, _COUNT, "0"),
    _row("repl-ping-replica-period", LIVE, _SECONDS, "10", "repl-ping-slave-period"),
    _row("replica-announce-ip", LIVE, PATH, "", "slave-announce-ip"),
    _row("replica-announce-port", LIVE, _PORT, "0", "slave-announce-port"),
    _row("replica-announced", LIVE, YES_NO, "yes"),
    _row("replica-ignore-disk-write-errors", LIVE, YES_NO, "no"),
    _row("replica-ignore-maxmemory", LIVE, YES_NO, "yes", "slave-ignore-maxmemory"),
    _row("replica-lazy-flush", LIVE, YES_NO, "no", "slave-lazy-flush"),
    _row("replica-priority", LIVE, _COUNT, "100", "slave-priority"),
    _row("replica-read-only", LIVE, only(YES_NO, "yes", "a replica takes no writes"), "yes", "slave-read-only"),
    _row("sanitize-dump-payload", LIVE, one_of("no", "yes", "clients"), "no"),
    _row("server_cpulist", FIXED, PATH, ""),
    _row("set-proc-title", FIXED, YES_NO, "yes"),
    _row("shutdown-on-sigint", LIVE, _SHUTDOWN, "default"),
    _row("shutdown-on-sigterm", LIVE, _SHUTDOWN, "default"),
    _row("shutdown-timeout", LIVE, _COUNT, "10"),
    _row("socket-mark-id", FIXED, integer(0, UINT_MAX), "0"),
    _row("supervised", FIXED, one_of("no", "upstart", "systemd", "auto"), "no"),
    _row("syslog-enabled", FIXED, only(YES_NO, "no", "the log goes to logfile or standard error"), "no"),
    _row("syslog-facility", FIXED, _FACILITY, "local0"),
    _row("syslog-ident", FIXED, PATH, "redis"),
    _row("tls-ciphersuites", LIVE, only(PATH, "", "the cipher suites of TLSv1.3 are OpenSSL's"), ""),
    _row("tls-cluster", LIVE, only(YES_NO, "no", "there is no cluster mode"), "no"),
    _row("tls-dh-params-file", LIVE, PATH, ""),
    _row("tls-prefer-server-ciphers", LIVE, YES_NO, "no"),
    _row("tls-session-cache-size", LIVE, _COUNT, "20480"),
    _row("tls-session-cache-timeout", LIVE, _COUNT, "300"),
    _row("tls-session-caching", LIVE, YES_NO, "yes"),
)
# fmt: on
# By the name and by the alias.
INERT_BY_NAME = {name: option for option in INERT for name in (option.name, option.alias) if name}
