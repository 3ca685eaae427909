"""The engine in an object store: its vault, who is there, and what a bad URL is answered with."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from helpers.s3_servers import CREDENTIALS, FakeS3, Fault, S3Server
from helpers.servers import free_port
from kvserver.errors import MediumError, NotReady, Unknown
from kvserver.formats.manifest import Manifest
from kvserver.media import s3
from kvserver.media.memory_engine import open_memory_engine
from kvserver.media.s3 import open_s3, open_s3_vault
from kvserver.media.s3_bucket import Bucket
from kvserver.media.shared import Node


def test_snapshot_is_a_plain_object_with_a_name_of_its_own(s3_server: S3Server) -> None:
    url = s3_server.url("kvserver/plain")
    vault = open_s3_vault(url)
    writer = vault.begin()
    writer.write(b'{"k":"v"}')
    writer.commit()
    found = Bucket(url).get(f"snapshots/{writer.name}")
    assert found
    assert json.loads(found.data) == {"k": "v"}
    assert found.metadata["content-type"] == "application/json"
    with pytest.raises(MediumError):
        writer.write(b"more")
    writer.abort()
    assert vault.read(writer.name, 0, 9) == b'{"k":"v"}'


def test_store_that_lists_in_no_order_keeps_snapshots_and_no_log(fake_s3: tuple[S3Server, FakeS3]) -> None:
    server, store = fake_s3
    url = server.url("bucket--use1-az4--x-s3/kv")
    with pytest.raises(MediumError, match=r"^s3://bucket--use1-az4--x-s3/kv: S3 Express lists objects in no order"):
        open_s3(url)
    assert not store.requests
    open_s3_vault(url).commit(Manifest(), "")


def test_snapshot_whose_end_is_unknown_is_removed_if_it_is_there(fake_s3: tuple[S3Server, FakeS3]) -> None:
    server, store = fake_s3
    vault = open_s3_vault(server.url("bucket/kv"))
    writer = vault.begin()
    writer.write(b"data")
    store.fault_of = lambda method, path: Fault(has_effect=True) if method == "PUT" else None
    with pytest.raises(Unknown):
        writer.commit()
    assert store.objects
    store.fault_of = lambda method, path: None
    writer.abort()
    assert not store.objects


def test_another_vault_takes_the_snapshots(s3_server: S3Server) -> None:
    vault = open_memory_engine("beside-s3").vault
    engine = open_s3(s3_server.url("kvserver/some/name"), vault, rounds=0)
    assert engine.vault is vault
    assert (engine.url, engine.name) == ("s3://kvserver/some/name", "name")
    assert open_s3(s3_server.url("kvserver"), rounds=0).name == "kvserver"
    assert any("26 million a month" in line for line in engine.promises)


def test_manifest_that_is_none_is_told_and_stays(fake_s3: tuple[S3Server, FakeS3]) -> None:
    server, store = fake_s3
    vault = open_s3_vault(server.url("bucket/kv"))
    store.objects["/bucket/kv/manifest.json"] = b"{}", {}
    with pytest.raises(MediumError, match=r"^s3://bucket/kv/manifest\.json is no manifest: its version is None"):
        vault.manifest()
    with pytest.raises(MediumError):
        vault.commit(Manifest(), "")
    assert store.objects["/bucket/kv/manifest.json"][0] == b"{}"


def test_manifest_amid_a_conflict_is_as_it_was(fake_s3: tuple[S3Server, FakeS3]) -> None:
    server, store = fake_s3
    vault = open_s3(server.url("bucket/kv"), rounds=0).vault
    tag = vault.commit(Manifest(counter=1), "")
    store.fault_of = lambda method, path: Fault(409, "ConditionalRequestConflict") if method == "PUT" else None
    with pytest.raises(MediumError) as failure:
        vault.commit(Manifest(counter=2), tag)
    assert type(failure.value) is MediumError
    assert vault.manifest() == (Manifest(counter=1), tag)


def test_names_lead_to_no_object_beside_the_snapshots(fake_s3: tuple[S3Server, FakeS3]) -> None:
    server, store = fake_s3
    engine = open_s3(server.url("bucket/kv"), rounds=0)
    engine.vault.commit(Manifest(), "")
    for name in ("../manifest.json", "manifest.json", ""):
        with pytest.raises(MediumError):
            engine.vault.read(name, 0, 1)
        engine.vault.remove([name])
    assert len(store.objects) == 1
    with pytest.raises(MediumError):
        engine.presence.tell(Node("../x", "", 1, False, 0, 0))


def test_node_that_tells_nothing_for_long_is_gone(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    url = s3_server.url("kvserver/nodes")
    presence, bucket = open_s3(url, rounds=0).presence, Bucket(url)
    node = Node("a" * 40, "127.0.0.1", 6379, False, 1, 1)
    presence.tell(node)
    bucket.put("nodes/torn.json", b"{")
    later = node._replace(id="b" * 40)
    bucket.put(f"nodes/{later.id}.json", json.dumps(later._asdict() | {"lease_ms": 3000}).encode())
    assert sorted(presence.nodes()) == [node, later]
    presence.leave(later.id)
    monkeypatch.setattr(s3, "GONE", timedelta(seconds=-1))
    assert presence.nodes() == []
    assert bucket.look(f"nodes/{node.id}.json")
    monkeypatch.setattr(s3, "FORGOTTEN", timedelta(seconds=-1))
    assert presence.nodes() == []
    assert not list(bucket.list("nodes"))


def test_store_that_does_not_let_us_in_is_told_before_it_is_probed(fake_s3: tuple[S3Server, FakeS3]) -> None:
    server, store = fake_s3
    store.fault_of = lambda method, path: Fault(403, "InvalidAccessKeyId")
    with pytest.raises(MediumError, match=r"^s3://bucket/kv: the store at .* does not let us in, .*InvalidAccessKeyId"):
        open_s3(server.url("bucket/kv"))
    assert len(store.requests) == 1


def test_vault_alone_asks_the_store_when_it_is_used(fake_s3: tuple[S3Server, FakeS3]) -> None:
    server, store = fake_s3
    store.fault_of = lambda method, path: Fault(403, "InvalidAccessKeyId")
    vault = open_s3_vault(server.url("bucket/kv"))
    assert not store.requests
    with pytest.raises(MediumError, match=r"^s3://bucket/kv: the store at .* does not let us in, .*InvalidAccessKeyId"):
        vault.manifest()


def test_who_only_looks_writes_nothing(fake_s3: tuple[S3Server, FakeS3]) -> None:
    server, store = fake_s3
    methods: list[str] = []

    def note(method: str, path: str) -> None:
        methods.append(method)

    store.fault_of = note
    open_s3(server.url("kvserver/looked-at"), rounds=0).close()
    assert methods
    assert set(methods) <= {"GET", "HEAD"}


def test_store_that_is_not_there_may_come_yet() -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with pytest.raises(NotReady, match="no connection to the store"):
            open_s3(S3Server(free_port()).url("kvserver/away"))


def test_objects_that_no_manifest_names_go_when_they_are_old(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    url = s3_server.url("kvserver/swept")
    vault, names = open_s3_vault(url), list[str]()
    for _ in range(3):
        writer = vault.begin()
        writer.write(b"{}")
        writer.commit()
        names.append(writer.name)
    Bucket(url).put("snapshots/mine.json", b"somebody's")
    vault.sweep(names[:1])
    assert all(vault.read(name, 0, 2) == b"{}" for name in names)
    # As if the store's clock had gone on.
    monkeypatch.setattr(s3, "ABANDONED_S", -1)
    vault.sweep(names[:1])
    assert {found.path for found in Bucket(url).list("snapshots")} == {f"snapshots/{names[0]}", "snapshots/mine.json"}
