"""Each form of an export brings back exactly the same data, whatever its types."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from helpers.transfers import filled, loaded, payload, random_databases
from kvserver.data.databases import Databases
from kvserver.transfer.exports import EXPORTS, Export

SEED = random.SystemRandom().randrange(1, 1 << 32)
FORMS = [pytest.param(each, id=each.name) for each in EXPORTS]


def exported(export: Export, databases: Databases) -> bytes:
    return b"".join(export.pieces(databases, lambda done: None))


@pytest.mark.parametrize("export", FORMS)
def test_data_of_every_type_comes_back(export: Export, tmp_path: Path) -> None:
    databases = filled()
    before = payload(databases)
    staging = loaded(tmp_path / "x", exported(export, databases))
    assert payload(staging.databases) == before == payload(databases)
    # An RDB file has keys in the order of hashes, and the time.
    if export.name != "rdb":
        assert exported(export, staging.databases) == exported(export, databases)


@pytest.mark.parametrize("export", FORMS)
def test_random_data_comes_back(export: Export, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    for number in range(60):
        databases = random_databases(rng)
        staging = loaded(tmp_path / "x", exported(export, databases))
        assert payload(staging.databases) == payload(databases), f"SEED = {SEED}, number {number}"


@pytest.mark.parametrize("export", FORMS)
def test_keys_that_are_done_are_reported(export: Export) -> None:
    reported: list[int] = []
    databases = filled()
    for _ in export.pieces(databases, reported.append):
        pass
    assert reported[-1] == databases.key_count


@pytest.mark.parametrize("export", FORMS)
def test_nothing_gives_a_file_that_brings_back_nothing(export: Export, tmp_path: Path) -> None:
    assert not list(loaded(tmp_path / "x", exported(export, Databases(lambda: 0))).members())
