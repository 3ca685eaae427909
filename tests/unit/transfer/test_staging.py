"""What has come in is held apart: nothing twice, nothing that has expired, and no library that could not be kept."""

from __future__ import annotations

import pytest

from helpers.transfers import LATER_MS, LIBRARY
from kvserver.data.databases import Databases
from kvserver.errors import SourceInvalid
from kvserver.formats.json_lines import Member, member_pieces, read_line
from kvserver.transfer.staging import Staging, databases_used, drop_expired, members_of, shown
from kvserver.types import TAGGED


def test_keys_come_in_order_and_those_that_have_expired_are_counted() -> None:
    staging = Staging()
    staging.put(3, b"b", b"1", None)
    staging.put(0, b"b", b"2", 1)
    staging.put(0, b"a", b"3", LATER_MS)
    staging.put(0, b"A", b"4", None)
    assert databases_used(staging.databases) == 2
    staging.finish()
    assert staging.expired == 1
    assert [(number, key) for number, key, _ in staging.members()] == [(0, b"A"), (0, b"a"), (3, b"b")]
    assert staging.databases[0].expires_at_ms(b"a") == LATER_MS


def test_expired_keys_are_dropped_in_all_databases() -> None:
    databases = Databases(lambda: 0)
    databases[0].set_expiring(b"a", b"1", 5)
    databases[7].set_expiring(b"b", b"1", 5)
    databases[7].set_expiring(b"c", b"1", LATER_MS)
    assert drop_expired(databases) == 2
    assert [key for _, key, _ in members_of(databases)] == [b"c"]


def test_fields_that_have_expired_are_dropped_and_hashes_that_have_no_others() -> None:
    staging = Staging()
    for key, fields in (
        (b"all", b'"a":{"expires_at_ms":5,"value":"1"}'),
        (b"one", b'"a":{"expires_at_ms":5,"value":"1"},"b":"2"'),
        (b"later", b'"a":{"expires_at_ms":%d,"value":"1"}' % LATER_MS),
    ):
        member = read_line(b'{"key":"%b","value":{"$kvs":{"hash":{%b}}}}' % (key, fields), TAGGED)
        assert isinstance(member, Member)
        staging.put(*member)
    staging.finish()
    assert staging.expired == 1
    assert [b"".join(member_pieces(*each, TAGGED)) for each in staging.members()] == [
        b'{"key":"later","db":0,"type":"hash","value":{"$kvs":{"hash":{"a":{"expires_at_ms":%d,"value":"1"}}}}}\n' % LATER_MS,
        b'{"key":"one","db":0,"type":"hash","value":{"$kvs":{"hash":{"b":"2"}}}}\n',
    ]


def test_nothing_comes_twice() -> None:
    staging = Staging()
    staging.put(1, b"a\x1b", b"1", None)
    staging.put(2, b"a\x1b", b"1", None)
    with pytest.raises(SourceInvalid, match=r"the key 'a\\x1b' of the database 2 comes twice"):
        staging.put(2, b"a\x1b", b"2", None)
    assert staging.put_library(LIBRARY) == b"mylib"
    with pytest.raises(SourceInvalid, match="the function library 'mylib' comes twice"):
        staging.put_library(LIBRARY)


def test_database_beyond_all_is_refused() -> None:
    with pytest.raises(SourceInvalid, match="the database 1024, and there are at most 1024"):
        Staging().put(1024, b"a", b"1", None)


@pytest.mark.parametrize("text", [b"redis.x()", b"#!lua name=a-b\n", b"#!lua\n", b"#!lua name=\n"])
def test_library_that_could_not_be_kept_is_refused(text: bytes) -> None:
    with pytest.raises(SourceInvalid, match="a function library"):
        Staging().put_library(text)
    staging = Staging()
    staging.databases.libraries.put(b"a", text)
    with pytest.raises(SourceInvalid, match="a function library"):
        staging.finish()


def test_bytes_are_shown_without_what_a_terminal_would_obey_and_not_at_any_length() -> None:
    assert shown(b"\x1b[2J\xff") == r"'\x1b[2J\\xff'"
    assert len(shown(b"x" * 10_000)) < 140
