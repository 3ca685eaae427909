"""Redis's own file is read as redis-server reads it: what applies is set, what protects is refused, the rest is named once."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.options import load_from
from helpers.redis_conf import DEBIAN, WithFile, debian_file
from helpers.servers import COMMON_OPTIONS, need_program
from kvserver.errors import ConfigError
from kvserver.options.config import Config, load
from kvserver.options.inert import INERT_BY_NAME
from kvserver.options.redis_conf import GUARDS, is_redis_conf
from kvserver.options.words import quoted, split_words


def load_conf(text: str, *arguments: str, **files: str) -> Config:
    return load_from("redis.conf", *arguments, files={"redis.conf": text, **files})


def refusal(text: str, **files: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_conf(text, **files)
    return str(caught.value)


# --- what applies


def test_file_of_debian_is_taken_with_one_notice_of_what_does_not_apply() -> None:
    config = load_conf(DEBIAN)
    assert config.bind == ("127.0.0.1", "-::1")
    assert (config.appendonly, config.dir, config.dbfilename) == (False, "/var/lib/redis", "dump.kvs")
    assert config.client_output_buffer_limit["normal"] == (0, 0, 0)
    assert config.client_output_buffer_limit["slave"] == (256 << 20, 64 << 20, 60)
    assert config.save == Config().save
    (notice,) = config.notices
    assert notice == (
        "redis.conf: does not apply here: daemonize yes (it always stays in the foreground); "
        "pidfile /run/redis/redis-server.pid (there is no file of the process's number); "
        "dbfilename dump.rdb (snapshots are no RDB: they are kept in dump.kvs, and a file of Redis is not read)"
    )
    assert config.file == "redis.conf"


@pytest.mark.parametrize(
    ("text", "attribute", "expected"),
    [
        ("PORT 7000", "port", 7000),
        ("  port\t7000 \r\n", "port", 7000),
        ("# port 1\n\n   # port 2\nport 7000", "port", 7000),
        ('port "7000"', "port", 7000),
        ("port 1\nport 2", "port", 2),
        ("save 900 1\nsave 300 10", "save", ((900, 1), (300, 10))),
        ("save 900 1 300 10", "save", ((900, 1), (300, 10))),
        ('save "900 1"\nsave ""', "save", ()),
        ('save ""', "save", ()),
        ("maxmemory 2gb", "maxmemory", 2 << 30),
        ("requirepass 'it\\'s \"it\"'", "requirepass", b'it\'s "it"'),
        (r'requirepass "\xff\x00\n\t\q\""', "requirepass", b'\xff\x00\n\tq"'),
        ("requirepass p\udcfc", "requirepass", b"p\xfc"),
        ('requirepass a"b c"', "requirepass", b"ab c"),
        ("keep-frames 7", "keep_frames", 7),
        ("hash-max-ziplist-entries 7", "hash_max_listpack_entries", 7),
        ("user a on >x\nuser b on '>y z' (~a +get)", "user", ((b"a", b"on", b">x"), (b"b", b"on", b">y z", b"(~a", b"+get)"))),
        ("aclfile /etc/users.acl", "aclfile", "/etc/users.acl"),
        ("lua-replicate-commands yes\nlist-max-ziplist-entries 5\nport 7", "port", 7),
        ("slaveof no one\nport 7", "port", 7),
        ("replicaof 10.0.0.1 6379", "replicaof", "10.0.0.1 6379"),
        ("slaveof 10.0.0.1 6379", "replicaof", "10.0.0.1 6379"),
        ("slaveof NO ONE", "replicaof", ""),
    ],
)
def test_line_sets_the_value(text: str, attribute: str, expected: object) -> None:
    config = load_conf(text)
    assert getattr(config, attribute) == expected
    assert config.notices == ()


def test_options_that_mean_nothing_here_are_kept_and_shown() -> None:
    config = load_conf("hz 20\noom-score-adj-values 0 100 200\nsupervised systemd\nio-threads 4")
    assert dict(config.inert) == {"hz": "20", "oom-score-adj-values": "0 100 200", "supervised": "systemd", "io-threads": "4"}
    assert config.notices == ()


def test_words_behind_the_file_override_it() -> None:
    config = load_conf("port 1\nsave 900 1\nsave 60 1", "--save", "5 5", "-p", "2")
    assert (config.port, config.save) == (2, ((5, 5),))


def test_files_that_include_each_other_more_and_more_are_refused() -> None:
    with pytest.raises(ConfigError, match="more than 1000 files are included"):
        load(["0.conf"], {}, lambda path: f"include {int(path[:-5]) + 1}.conf\n" * 2 if int(path[:-5]) < 15 else "")


def test_included_files_stand_where_they_are_included() -> None:
    files = {"a.conf": "port 2\ntimeout 2", "b.conf": "timeout 3"}

    def find(pattern: str) -> list[str]:
        assert pattern == "?.conf"
        return sorted(files)

    def read(path: str) -> str:
        return {"redis.conf": "port 1\ninclude ?.conf\nmaxclients 5", **files}[path]

    config = load(["redis.conf"], {}, read, find)
    assert (config.port, config.timeout, config.maxclients) == (2, 3, 5)
    assert (load_conf("include none*.conf\nport 7")).port == 7


# --- what is named, and what is refused


def test_modules_and_newer_directives_are_named() -> None:
    config = load_conf("loadmodule /usr/lib/redisjson.so a b\nset-max-listpack-entries 128\nactivedefrag yes\nport 7")
    dropped, modules = config.notices
    assert dropped.startswith("redis.conf: does not apply here: set-max-listpack-entries 128; activedefrag yes (Active ")
    assert (
        modules
        == "redis.conf, line 1: loadmodule /usr/lib/redisjson.so a b: there are no modules here, and none of its commands"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('rename-command FLUSHALL ""', "rename-command FLUSHALL: commands have the names that they have"),
        ("rename-command CONFIG b840fc02d524045429941cc15f59e41cb7be6c52", "rename-command CONFIG: "),
        ("replica-read-only no", "replica-read-only no: a replica takes no writes"),
        ("slave-read-only no", "replica-read-only no: a replica takes no writes"),
        ("cluster-enabled yes", "cluster-enabled yes: there is no cluster mode"),
        ("min-slaves-to-write 1", "min-replicas-to-write 1: there are no replicas"),
        ("tls-ciphersuites TLS_AES_128_GCM_SHA256", "tls-ciphersuites TLS_AES_128_GCM_SHA256: the cipher suites"),
        ("maxmemory-clients 10%", "maxmemory-clients 10%: client eviction is not supported here"),
        ("sentinel monitor a 127.0.0.1 6379 2", "sentinel: there is no Sentinel here"),
    ],
)
def test_what_protects_data_is_never_dropped_silently(text: str, told: str) -> None:
    line = refusal(f"port 1\n{text}\n")
    assert line.startswith(f"redis.conf, line 2: {told}")
    assert line.endswith(" (somebody may rely on that, so that it is not dropped silently: change or remove it)")
    assert "secret" not in line
    assert "b840" not in line


def test_all_that_is_refused_is_told_at_once() -> None:
    line = refusal('rename-command A ""\nport 1\ncluster-enabled yes')
    assert re.findall(r"line (\d+)", line) == ["1", "3"]


@pytest.mark.parametrize(
    ("text", "files", "line"),
    [
        ("prot 6379", {}, "redis.conf, line 1: Bad directive or wrong number of arguments: prot; did you mean port?"),
        ("host x", {}, "redis.conf, line 1: Bad directive or wrong number of arguments: host; did you mean bind?"),
        ("port 6379 # comment", {}, "redis.conf, line 1, port: wrong number of arguments; a comment needs a line of its own"),
        (
            "appendonly true",
            {},
            "redis.conf, line 1, appendonly: argument must be 'yes' or 'no' (got 'true'); did you mean yes?",
        ),
        ("#\ninclude a", {"a": "\nport x"}, "a, line 2, port: argument couldn't be parsed into an integer (got 'x')"),
        ("include nowhere", {}, "redis.conf, line 1: can't open config file 'nowhere': No such file or directory"),
        ("include redis.conf", {}, "redis.conf, line 1: files include each other without an end"),
        ("save 900 1\nsave 300", {}, "redis.conf, line 2, save: Invalid save parameters (got '300')"),
    ],
)
def test_nonsense_is_one_line_with_its_place(text: str, files: Mapping[str, str], line: str) -> None:
    assert refusal(text, **files) == line


# --- which form a file has


@pytest.mark.parametrize(
    ("path", "text", "is_redis"),
    [
        ("redis.conf", "port 1", True),
        ("redis.conf", "", True),
        ("kvserver.conf", "# port 1\nport = 1", False),
        ("options", "\n [network]", False),
        ("options", "\n\nport 1", True),
        ("options", "", False),
        ("options", "'port'= 1", False),
        ("options", "requirepass a=b", True),
        ("kvserver.toml", "port 1", False),
    ],
)
def test_form_is_known_by_the_name_or_by_the_first_line(path: str, text: str, is_redis: bool) -> None:
    assert is_redis_conf(path, text) == is_redis


# --- as redis-server reads it


@given(data=st.binary())
def test_quoted_word_is_read_back(data: bytes) -> None:
    word = data.decode("utf-8", "surrogateescape")
    line = f"requirepass {quoted(word)} x"
    assert split_words(line) == ["requirepass", word, "x"]
    assert line.isascii()
    assert line.isprintable()


LINES = r"""
requirepass "a b\x41\n\"'"
masterauth 'it\'s "x" \n'
proc-title-template "{title} {port}"
SAVE 900 1
save 300 10 60 5
client-output-buffer-limit replica 1mb 2mb 3
client-output-buffer-limit normal 0 0 0
notify-keyspace-events "KEA"
maxmemory 100mb
maxmemory-policy allkeys-lfu
 slowlog-max-len   7
latency-tracking-info-percentiles 50 99
hash-max-ziplist-entries 3
slave-priority 5
bind 127.0.0.1 -::1
"""


def test_values_are_those_of_redis_server(tmp_path: Path) -> None:
    need_program("redis-server")
    file = tmp_path / "redis.conf"
    file.write_text(LINES)
    shown = []
    for kind in ("kvserver", "redis-server"):
        folder = tmp_path / kind
        folder.mkdir()
        server = WithFile(kind, folder, "--appendonly", "no")
        server.file = file
        with server, server.connect() as wire:
            wire.command("AUTH", "a bA\n\"'")
            flat = wire.value("CONFIG", "GET", "*")
        shown.append(dict(zip(flat[::2], flat[1::2], strict=True)))
    names = {words[0].lower().encode() for line in LINES.splitlines() if (words := split_words(line))}
    assert len(names) == 13
    assert {name: shown[0][name] for name in names} == {name: shown[1][name] for name in names}


@pytest.mark.parametrize(
    "line",
    [
        *("port abc", "port", "port 1 2", "nosuch 1", "save 900", "save a b", "appendonly maybe", 'requirepass "abc'),
        *("requirepass 'a'b", "maxmemory 10x", "loglevel loud", "client-output-buffer-limit normal 1", "rename-command X"),
        *("tcp-backlog -1", "unixsocketperm 9", "notify-keyspace-events Q", "dbfilename a/b", "user"),
        *("timeout 5x", "maxclients 0", "maxmemory-policy none", "hz", "io-threads 1000", "include"),
    ],
)
def test_error_has_redis_servers_words(tmp_path: Path, line: str) -> None:
    file = tmp_path / "redis.conf"
    file.write_text(f"{line}\n")
    done = subprocess.run(
        [need_program("redis-server"), file, "--port", "0"], capture_output=True, text=True, check=False, timeout=20
    )
    assert "FATAL CONFIG FILE ERROR" in done.stderr
    reason = done.stderr.strip().splitlines()[-1]
    assert reason.casefold() in refusal(line).casefold()


def test_server_starts_with_the_file_of_debian(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    server = WithFile("kvserver", folder, "--logfile", "", *COMMON_OPTIONS)
    server.file = debian_file(tmp_path)
    with server:
        assert server.once("SET", "k", "v") == b"+OK\r\n"
    (warning,) = (line for line in server.log_text().splitlines() if "WARNING" in line)
    assert f"{server.file}: does not apply here: daemonize yes" in warning
    assert [path.name for path in folder.iterdir() if path.suffix == ".kvs"] == ["dump.kvs"]


def test_every_guard_is_an_option_that_is_refused() -> None:
    assert all(INERT_BY_NAME[name].kind.refusal for name in GUARDS)
