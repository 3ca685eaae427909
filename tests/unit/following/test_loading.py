"""What a source has is gathered in databases of its own, and what can't be here is told."""

from __future__ import annotations

import pytest

from kvserver.errors import SourceUnusable
from kvserver.following.loading import Loading
from kvserver.formats.rdb_file import RDBAux, RDBEntry, RDBLibrary, RDBSizes

NOW_MS = 1_700_000_000_000


def test_entries_go_where_they_were() -> None:
    loading = Loading(lambda: NOW_MS, 4)
    for item in (
        RDBAux(b"redis-ver", b"7.0.15"),
        RDBSizes(0, 2, 1),
        RDBEntry(0, b"a", b"1", None, None, None),
        RDBEntry(3, b"b", b"2", NOW_MS + 5, None, None),
        RDBLibrary(b"#!lua name=one\nfirst"),
        RDBLibrary(b"#!lua name=two\nsecond"),
    ):
        loading.put(item)
    assert loading.keys == 2
    assert loading.databases[0].live(b"a") == b"1"
    assert loading.databases[3].expires_at_ms(b"b") == NOW_MS + 5
    assert loading.databases.libraries.copy() == {b"one": b"#!lua name=one\nfirst", b"two": b"#!lua name=two\nsecond"}


def test_key_whose_time_has_come_stays_until_the_source_removes_it() -> None:
    loading = Loading(lambda: NOW_MS, 16)
    loading.put(RDBEntry(0, b"a", b"1", NOW_MS - 5, None, None))
    assert len(loading.databases[0]) == 1


def test_database_that_nobody_could_select_is_refused() -> None:
    with pytest.raises(SourceUnusable, match="keys in database 4, and there are 4 here: the option databases takes more"):
        Loading(lambda: NOW_MS, 4).put(RDBEntry(4, b"a", b"1", None, None, None))


def test_library_without_a_head_is_refused() -> None:
    with pytest.raises(SourceUnusable, match="a function library of the source can't be read: ERR Missing library metadata"):
        Loading(lambda: NOW_MS, 4).put(RDBLibrary(b"x"))
