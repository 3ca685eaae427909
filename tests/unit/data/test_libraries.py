"""The texts of function libraries: each change is recorded, in database 0, and tells those who hold what they made of them."""

from __future__ import annotations

import pytest

from kvserver.data.databases import Databases
from kvserver.data.libraries import Libraries
from kvserver.data.records import Records

TEXT = b"#!lua name=one\nreturn"


def test_changes_are_recorded_as_commands_that_repeat_them() -> None:
    databases = Databases(lambda: 0)
    libraries = databases.libraries
    databases[3].put(b"key", b"value")
    libraries.put(b"one", TEXT)
    libraries.put(b"two", b"#!lua name=two\n")
    libraries.put(b"one", TEXT + b" 1")
    assert (list(libraries), len(libraries), libraries.get(b"one")) == ([b"one", b"two"], 2, TEXT + b" 1")
    libraries.remove(b"two")
    libraries.clear()
    assert (list(libraries), libraries.get(b"one")) == ([], None)
    assert databases.records.take() == [
        [b"SELECT", b"3"], [b"SET", b"key", b"value"], [b"SELECT", b"0"],
        [b"FUNCTION", b"LOAD", b"REPLACE", TEXT],
        [b"FUNCTION", b"LOAD", b"REPLACE", b"#!lua name=two\n"],
        [b"FUNCTION", b"LOAD", b"REPLACE", TEXT + b" 1"],
        [b"FUNCTION", b"DELETE", b"two"],
        [b"FUNCTION", b"FLUSH"],
    ]  # fmt: skip


def test_missing_library_is_not_removed_and_nothing_is_recorded() -> None:
    records = Records()
    libraries = Libraries(records)
    with pytest.raises(KeyError):
        libraries.remove(b"none")
    assert (libraries.generation, records.has_any) == (0, False)


def test_generation_changes_with_each_change_and_a_copy_stays_as_it_was() -> None:
    databases = Databases(lambda: 0)
    libraries, generations = databases.libraries, [0]

    def note() -> None:
        assert libraries.generation not in generations
        generations.append(libraries.generation)

    libraries.put(b"one", TEXT)
    note()
    frozen = databases.cut()
    libraries.remove(b"one")
    note()
    libraries.replace({b"one": b"other"})
    note()
    libraries.clear()
    note()
    assert frozen.libraries == {b"one": TEXT}
    for _ in frozen.fold():
        pass


def test_flush_of_all_databases_keeps_libraries() -> None:
    databases = Databases(lambda: 0)
    databases.libraries.put(b"one", TEXT)
    databases.clear()
    assert databases.libraries.copy() == {b"one": TEXT}
