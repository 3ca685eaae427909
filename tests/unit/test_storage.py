"""Where a server keeps its data, as its options say."""

from __future__ import annotations

from pathlib import Path

import pytest

import kvserver
from kvserver.errors import StartError
from kvserver.storage import Storage


async def test_what_is_in_memory_is_kept_until_it_is_forgotten() -> None:
    server = kvserver.Server(appendonly=True)
    storage = Storage(server.config, in_words_of_the_shell=False)
    first = storage._open_place()
    storage._place = first
    assert storage._open_place() is first
    storage.forget()
    assert storage._open_place() is not first


async def test_folder_that_another_server_has_is_told_in_words_of_the_caller(tmp_path: Path) -> None:
    async with kvserver.Server(dir=str(tmp_path)):
        with pytest.raises(StartError, match="dir= takes another directory"):
            await kvserver.Server(dir=str(tmp_path)).start()


@pytest.mark.parametrize("url", ["ftp://host/name", "memory://"])
async def test_url_that_means_nothing_is_one_line(url: str) -> None:
    with pytest.raises(StartError, match=r"^cannot use the medium: [^\n]+$"):
        await kvserver.Server(medium=url).start()


async def test_place_of_snapshots_that_means_nothing_is_one_line_and_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"^snapshots: [^\n]+$"):
        await kvserver.Server(dir=str(tmp_path), snapshots="ftp://host/name").start()
    async with kvserver.Server(dir=str(tmp_path)):
        pass


async def test_servers_that_name_an_engine_share_it() -> None:
    async with kvserver.Server(medium="memory://test-storage") as one:
        assert one.state.replication.is_primary
        async with kvserver.Server(medium="memory://test-storage") as other:
            assert not other.state.replication.is_primary
            assert other.state.replication.primary == one.state.replication.primary
