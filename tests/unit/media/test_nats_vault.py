"""Snapshots and manifests in NATS. What every engine does is in test_engines."""

from __future__ import annotations

import asyncio
import random
import secrets
from pathlib import Path

import nats
import pytest

from helpers.nats_servers import NatsServers
from kvserver.errors import MediumError
from kvserver.formats.manifest import Manifest, encode_manifest
from kvserver.media.nats import open_nats
from kvserver.media.nats_client import NatsClient
from kvserver.media.nats_vault import NatsVault
from kvserver.media.shared import Engine


def engine_on(servers: NatsServers) -> Engine:
    return open_nats(servers.url(f"vault-{secrets.token_hex(4)}"))


def vault_of(engine: Engine) -> NatsVault:
    assert isinstance(engine.vault, NatsVault)
    return engine.vault


def client_of(engine: Engine) -> NatsClient:
    return vault_of(engine)._client


def stored(engine: Engine, data: bytes) -> str:
    writer = engine.vault.begin()
    writer.write(data)
    writer.commit()
    return writer.name


@pytest.mark.parametrize("nodes", ["nats_node", "nats_cluster"])
def test_twenty_megabytes_come_back(nodes: str, request: pytest.FixtureRequest) -> None:
    engine = engine_on(request.getfixturevalue(nodes))
    data = random.Random(1).randbytes(20_000_000)
    writer = engine.vault.begin()
    for start in range(0, len(data), 300_000):
        writer.write(data[start : start + 300_000])
    writer.commit()
    assert engine.vault.read(writer.name, 0, len(data)) == data
    engine.close()


def test_two_that_are_written_at_once_do_not_mix(nats_node: NatsServers) -> None:
    engine = engine_on(nats_node)
    writers = [engine.vault.begin() for _ in range(3)]
    for step in range(7):
        for number, writer in enumerate(writers):
            writer.write(bytes([10 * number + step]) * 400_000)
    for number, writer in enumerate(writers):
        writer.commit()
        expected = b"".join(bytes([10 * number + step]) * 400_000 for step in range(7))
        assert engine.vault.read(writer.name, 0, len(expected)) == expected
        assert engine.vault.read(writer.name, 1_000_001, 900_000) == expected[1_000_001:1_900_001]
    engine.close()


def test_tools_of_nats_find_what_is_there(nats_node: NatsServers) -> None:
    engine = engine_on(nats_node)
    data = random.Random(2).randbytes(1_500_000)
    name = stored(engine, data)
    manifest = Manifest(counter=1)
    engine.vault.commit(manifest, "")

    async def look() -> None:
        client = await nats.connect(f"nats://{nats_node.hosts()}")
        bucket = f"KVSERVER_{engine.name}"
        store = await client.jetstream().object_store(bucket)
        found = await store.get(name)
        assert found.data == data
        entry = await (await client.jetstream().key_value(bucket)).get("manifest")
        assert entry.value == encode_manifest(manifest)
        await client.close()

    asyncio.run(look())
    engine.close()


def test_manifest_that_is_none_is_told_of(nats_node: NatsServers) -> None:
    engine = engine_on(nats_node)
    client_of(engine).request(f"$KV.KVSERVER_{engine.name}.manifest", b"{", None, 5)
    with pytest.raises(MediumError, match=r"the manifest in KV_KVSERVER_.* of NATS is none: it is no JSON"):
        engine.vault.manifest()
    engine.close()


def test_object_that_lacks_a_chunk_is_told_of(nats_node: NatsServers) -> None:
    engine = engine_on(nats_node)
    name = stored(engine, b"x" * 2_000_000)
    answer = client_of(engine).ask(f"$JS.API.STREAM.MSG.DELETE.OBJ_KVSERVER_{engine.name}", {"seq": 2}, 5)
    assert answer["success"]
    with pytest.raises(MediumError, match=r"the chunk 1 of the snapshot .* in NATS is not there"):
        engine.vault.read(name, 0, 2_000_000)
    assert engine.vault.read(name, 0, 1000) == b"x" * 1000
    engine.close()


def test_chunk_is_asked_of_the_leader_where_others_lag(nats_node: NatsServers, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_on(nats_node)
    data = random.Random(3).randbytes(1_200_000)
    name = stored(engine, data)
    client = client_of(engine)
    collect = client.collect
    # A node that lags answers with nothing but the word that ends a batch.
    monkeypatch.setattr(client, "collect", lambda *words: collect(*words)[-1:])
    assert engine.vault.read(name, 0, len(data)) == data
    engine.close()


def test_object_of_others_is_told_of(nats_node: NatsServers) -> None:
    engine = engine_on(nats_node)

    async def put() -> None:
        client = await nats.connect(f"nats://{nats_node.hosts()}")
        store = await client.jetstream().object_store(f"KVSERVER_{engine.name}")
        await store.put("theirs", b"data")
        await client.close()

    asyncio.run(put())
    with pytest.raises(MediumError, match="the snapshot theirs was not written by kvserver"):
        engine.vault.read("theirs", 0, 4)
    engine.close()


def test_chunks_of_a_writer_that_was_killed_are_swept_when_they_are_old(
    nats_node: NatsServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_on(nats_node)

    def names_of_chunks() -> set[str]:
        body = {"subjects_filter": f"$O.KVSERVER_{engine.name}.C.>"}
        found = client_of(engine).ask(f"$JS.API.STREAM.INFO.OBJ_KVSERVER_{engine.name}", body, 5)
        return {subject.rpartition(".")[2] for subject in found["state"].get("subjects") or {}}

    whole = stored(engine, b"data")
    killed = engine.vault.begin()
    killed.write(b"x" * 1_000_000)
    engine.vault.remove([])
    assert names_of_chunks() == {whole, killed.name}
    monkeypatch.setattr("kvserver.media.nats_vault.ABANDONED_S", -10)
    engine.vault.remove([])
    assert names_of_chunks() == {whole}
    engine.close()


def test_manifest_that_is_too_long_is_not_sent(nats_node: NatsServers) -> None:
    engine = engine_on(nats_node)
    with pytest.raises(MediumError, match=r"nobody could read it: it has"):
        engine.vault.commit(Manifest(owner="x" * (2 << 20)), "")
    assert engine.vault.manifest() == (None, "")
    engine.close()


def test_server_that_takes_less_since_it_was_started_again(tmp_path: Path) -> None:
    with NatsServers(tmp_path) as servers:
        engine, node = engine_on(servers), servers.nodes[0]
        data = random.Random(3).randbytes(1_000_000)
        first = stored(engine, data)
        node.kill()
        node.settings = node.settings.replace("max_payload: 8MB", "max_payload: 256KB")
        servers.start()
        client_of(engine).wait_until_ready(60)
        second = stored(engine, data)
        for name in (first, second):
            assert engine.vault.read(name, 0, len(data)) == data
        engine.close()
