"""The probe of an object store refuses one that only pretends, and lets one pass that is right."""

from __future__ import annotations

import random

import pytest

from helpers.s3_servers import FakeS3, Fault, S3Server
from kvserver.errors import MediumError
from kvserver.formats.manifest import Manifest
from kvserver.media.s3 import open_s3, open_s3_vault
from kvserver.media.s3_bucket import Bucket
from kvserver.media.s3_probe import probe


def run(server: S3Server, rounds: int = 20) -> None:
    url = server.url("bucket/kv")
    probe(Bucket(url), Bucket(url), rounds)


def test_right_store_passes_and_nothing_is_left_there(fake_s3: tuple[S3Server, FakeS3]) -> None:
    server, store = fake_s3
    run(server)
    assert sum(method == "PUT" for method, _ in store.requests) == 2 * 20 + 2 * 20
    assert not store.objects


def test_moto_passes(s3_server: S3Server) -> None:
    open_s3(s3_server.url("kvserver/probed")).close()


@pytest.mark.parametrize(
    ("ignored", "line"),
    [
        ("If-None-Match", "does not do what If-None-Match asks for: of two, both succeeded"),
        ("If-Match", "does not do what If-Match asks for: of two, both succeeded"),
    ],
    ids=lambda value: value if value.startswith("If-") else "",
)
def test_store_that_ignores_a_condition_is_refused(fake_s3: tuple[S3Server, FakeS3], ignored: str, line: str) -> None:
    server, store = fake_s3
    store.ignored = {ignored}
    with pytest.raises(MediumError) as failure:
        run(server)
    assert str(failure.value) == f"s3://bucket/kv: its store {line}"
    assert not store.objects


@pytest.mark.parametrize("condition", ["If-None-Match", "If-Match"])
def test_store_that_races_is_refused(fake_s3: tuple[S3Server, FakeS3], condition: str) -> None:
    server, store = fake_s3
    store.racy = {condition}
    with pytest.raises(MediumError, match=rf"does not do what {condition} asks for: of two, both succeeded$"):
        open_s3(server.url("bucket/kv"))


def test_store_in_which_nobody_wins_is_refused(fake_s3: tuple[S3Server, FakeS3]) -> None:
    server, store = fake_s3
    store.fault_of = lambda method, path: Fault(412, "PreconditionFailed") if method == "PUT" else None
    with pytest.raises(MediumError, match=r"of two, neither succeeded$"):
        run(server)
    store.fault_of = lambda method, path: Fault(409, "ConditionalRequestConflict") if method == "PUT" else None
    with pytest.raises(MediumError, match=r"answers 409 to all who ask for a name$"):
        run(server)


def test_store_that_tells_the_loser_that_it_has_won_is_refused(fake_s3: tuple[S3Server, FakeS3]) -> None:
    server, store = fake_s3
    # Both are answered 412, and the one that is there is told so, too.
    store.fault_of = lambda method, path: Fault(412, "PreconditionFailed", has_effect=True) if method == "PUT" else None
    with pytest.raises(MediumError, match="neither succeeded"):
        run(server)


def test_store_with_some_409s_is_served(fake_s3: tuple[S3Server, FakeS3]) -> None:
    server, store = fake_s3
    rng = random.Random(seed := random.randrange(1 << 32))
    print(f"seed {seed}")
    # As S3 does: where two are under way, one may be told to try again, and nothing was written.
    store.fault_of = lambda method, path: (
        Fault(409, "ConditionalRequestConflict") if method == "PUT" and rng.random() < 0.1 else None
    )
    run(server)


def test_store_that_does_not_answer_is_told_as_that(fake_s3: tuple[S3Server, FakeS3]) -> None:
    server, store = fake_s3
    store.fault_of = lambda method, path: Fault(500, "InternalError") if method == "PUT" else None
    with pytest.raises(MediumError, match=r"^s3://bucket/kv: the store at http://127\.0\.0\.1:\d+ answers 500 InternalError"):
        run(server)


def test_vault_alone_is_probed_before_it_is_written_to(fake_s3: tuple[S3Server, FakeS3]) -> None:
    server, store = fake_s3
    store.ignored = {"If-None-Match"}
    vault = open_s3_vault(server.url("bucket/kv"))
    assert vault.manifest() == (None, "")
    assert all(method == "GET" for method, _ in store.requests)
    for _ in range(2):
        with pytest.raises(MediumError, match="both succeeded"):
            vault.commit(Manifest(), "")
    assert not store.objects
    store.ignored = set()
    tag = vault.commit(Manifest(), "")
    count = len(store.requests)
    vault.commit(Manifest(), tag)
    assert len(store.requests) == count + 1
