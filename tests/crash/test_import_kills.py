"""kill -9 in the middle of an import leaves the folder's data as it was, or has all of it: never a part."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

from helpers.servers import kvserver_command, kvserver_environment
from helpers.transfers import payload_in
from kvserver import KVStore, ServerFolder
from kvserver.cli.main import main

KILLS = int(os.environ.get("KVSERVER_IMPORT_KILLS", "12"))
SEED = int(os.environ.get("KVSERVER_IMPORT_KILLS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
KEYS = 60_000


def test_folder_has_all_of_an_import_or_nothing_of_it(tmp_path: Path) -> None:
    print(f"KVSERVER_IMPORT_KILLS_SEED={SEED}")
    rng = random.Random(SEED)
    source, folder = tmp_path / "data.jsonl", tmp_path / "data"
    source.write_text("".join(f'{{"key":"k{number}","value":"{"x" * 100}{number}"}}\n' for number in range(KEYS)))
    with KVStore(ServerFolder(folder), journal=True) as store:
        store["a"] = "1"
        store.shutdown()
        store["b"] = "2"
    before = payload_in(folder)
    begun_at = time.monotonic()
    assert main(["import", str(source), str(tmp_path / "whole")]) == 0
    # A process of its own takes longer than this.
    duration_s = 2 * (time.monotonic() - begun_at) + 0.5
    after = payload_in(tmp_path / "whole")[1:-1].join((b'{"a":"1","b":"2",', b"}"))
    for number in range(KILLS):
        command = kvserver_command("import", str(source), str(folder))
        with subprocess.Popen(command, env=kvserver_environment(), stdout=subprocess.DEVNULL) as process:
            try:
                process.wait(rng.uniform(0, duration_s))
            except subprocess.TimeoutExpired:
                process.kill()
        found = payload_in(folder)
        assert found in (before, after), f"number {number}"
        if found == after:
            # What a start makes of it is what was read beside it.
            with KVStore(ServerFolder(folder)) as store:
                assert len(store) == KEYS + 2
                store.clear()
                store["a"], store["b"] = "1", "2"
                store.shutdown()
            assert payload_in(folder) == before
    assert main(["import", str(source), str(folder)]) == 0
    assert payload_in(folder) == after


def test_kill_amid_the_writing_of_the_frame_leaves_what_was_there(tmp_path: Path) -> None:
    source, folder = tmp_path / "data.jsonl", tmp_path / "data"
    source.write_text("".join(f'{{"key":"k{number}","value":"{"x" * 1000}"}}\n' for number in range(KEYS)))
    with KVStore(ServerFolder(folder)) as store:
        store["a"] = "1"
        store.shutdown()
    before, size = payload_in(folder), (folder / "dump.kvs").stat().st_size
    with subprocess.Popen(kvserver_command("import", str(source), str(folder)), env=kvserver_environment()) as process:
        while process.poll() is None and (folder / "dump.kvs").stat().st_size < size + 1_000_000:
            time.sleep(0.001)
        process.kill()
    assert payload_in(folder) == before
    with KVStore(ServerFolder(folder)) as store:
        assert dict(store) == {"a": "1"}
