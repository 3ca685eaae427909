"""The options of a server whose data is in an engine: what excludes what, from any source, and which defaults differ."""

from __future__ import annotations

import pytest

from helpers.options import load_from, load_toml, shown
from kvserver.errors import ConfigError, ConfigSetError
from kvserver.options.config import Config
from kvserver.options.engine import NEEDS_JOURNAL, NEEDS_NO_DIR, TOLD_ADDRESS
from kvserver.options.keywords import from_keywords

MEDIUM = "nats://host/kv"


@pytest.mark.parametrize(
    ("config", "appendfsync"),
    [
        (load_from(), b"everysec"),
        (load_from("--medium", MEDIUM), b"always"),
        (load_from("--medium", MEDIUM, "--appendfsync", "everysec"), b"everysec"),
        (load_from("--medium", MEDIUM, environ={"KVSERVER_APPENDFSYNC": "no"}), b"no"),
        (load_from(environ={"KVSERVER_MEDIUM": MEDIUM}), b"always"),
        (load_toml(f'medium = "{MEDIUM}"\nappendfsync = "everysec"'), b"everysec"),
        (load_toml(f'medium = "{MEDIUM}"'), b"always"),
        (from_keywords({"medium": MEDIUM}), b"always"),
        (from_keywords({"medium": MEDIUM, "appendfsync": "no"}), b"no"),
    ],
    ids=range(9),
)
def test_journal_in_an_engine_is_synced_always_unless_something_else_was_said(config: Config, appendfsync: bytes) -> None:
    assert shown(config, "appendfsync") == appendfsync
    assert shown(config, "appendonly") == b"yes"


@pytest.mark.parametrize(
    ("arguments", "environ", "line"),
    [
        (["--dir", "data"], {}, f"--dir on the command line: {NEEDS_NO_DIR}"),
        (["--dir", "memory:"], {}, f"--dir on the command line: {NEEDS_NO_DIR}"),
        ([], {"KVSERVER_DIR": "data"}, f"KVSERVER_DIR in the environment: {NEEDS_NO_DIR}"),
        (["--appendonly", "no"], {}, f"--appendonly on the command line: {NEEDS_JOURNAL}"),
        ([], {"KVSERVER_APPENDONLY": "no"}, f"KVSERVER_APPENDONLY in the environment: {NEEDS_JOURNAL}"),
    ],
)
def test_options_that_an_engine_excludes_are_one_line(arguments: list[str], environ: dict[str, str], line: str) -> None:
    load_from(*arguments, environ=environ)
    with pytest.raises(ConfigError) as caught:
        load_from("--medium", MEDIUM, *arguments, environ=environ)
    assert str(caught.value) == line


@pytest.mark.parametrize(("keyword", "value", "reason"), [("dir", "x", NEEDS_NO_DIR), ("appendonly", False, NEEDS_JOURNAL)])
def test_they_exclude_each_other_as_keywords_as_well(keyword: str, value: object, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_keywords({keyword: value, "medium": MEDIUM})
    assert str(caught.value) == f"{keyword}: {reason}"


def test_server_within_a_program_saves_into_its_engine() -> None:
    config = from_keywords({"medium": MEDIUM})
    assert config.save == Config().save
    assert config.dir == Config().dir


@pytest.mark.parametrize("name", ["medium", "snapshots"])
def test_url_has_a_scheme(name: str) -> None:
    load_from(f"--{name}", "s3://bucket/prefix")
    load_from(f"--{name}", "file:data")
    load_from(f"--{name}", "")
    for text in ("bucket", "/a/folder", "host:", "1:2", "://x"):
        with pytest.raises(ConfigError) as caught:
            load_from(f"--{name}", text)
        reason = "argument must be a URL, such as nats://host:4222/name or s3://bucket/prefix"
        assert str(caught.value) == f"--{name} on the command line: {reason} (got {text!r})"


def test_lease_is_left_to_the_engine_or_long_enough_for_several_appends() -> None:
    assert load_from("--lease-milliseconds", "0").lease_milliseconds == 0
    assert load_from("--lease-milliseconds", "100").lease_milliseconds == 100
    for text in ("1", "99", "-1", "2147483648"):
        with pytest.raises(ConfigError, match=r"^--lease-milliseconds on the command line: argument must be "):
            load_from("--lease-milliseconds", text)


def test_announced_address_is_one_word() -> None:
    assert load_from("--announce-ip", "kv1.example").announce_ip == "kv1.example"
    # Bytes on the command line that are no UTF-8 come as surrogates.
    for text in ("kv 1", "kv\udcff", "k" * 254):
        with pytest.raises(ConfigError, match="argument must be an address or a host name"):
            load_from("--announce-ip", text)


def test_journal_of_an_engine_stays_on() -> None:
    config = load_from("--medium", MEDIUM)
    with pytest.raises(ConfigSetError) as caught:
        config.set([(b"timeout", b"5"), (b"appendonly", b"no")])
    assert str(caught.value) == f"ERR CONFIG SET failed (possibly related to argument 'appendonly') - {NEEDS_JOURNAL}"
    assert (config.appendonly, config.timeout) == (True, 0)
    assert config.set([(b"appendonly", b"yes"), (b"appendfsync", b"no")]) == ["appendfsync"]
    assert Config().set([(b"appendonly", b"no")]) == ["appendonly"]


def test_address_that_others_were_told_stays_unless_another_stands_for_it() -> None:
    config = load_from("--medium", MEDIUM)
    told = (("bind", "::1", "announce-ip"), ("port", "7000", "announce-port"), ("tls-port", "7001", "announce-port"))
    for name, value, announced in told:
        with pytest.raises(ConfigSetError) as caught:
            config.set([(name.encode(), value.encode())])
        assert str(caught.value).endswith(f"'{name}') - {TOLD_ADDRESS.format(announced)}")
    config = load_from("--medium", MEDIUM, "--announce-ip", "kv1", "--announce-port", "6379")
    assert config.set([(b"bind", b"::1"), (b"port", b"7000")]) == ["bind", "port"]
    assert Config().set([(b"port", b"7000")]) == ["port"]
