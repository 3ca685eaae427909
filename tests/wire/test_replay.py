"""The vectors over the wire: `kvserver replay FILE --url` prints the same results as the library gives.

Vectors with a shutdown behind a crash are left out: the library's plain medium keeps the torn bytes, the server cuts them off.
"""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from helpers.servers import PROJECT, ServerProcess, kvserver_command, kvserver_environment

VECTORS = PROJECT.joinpath("tests", "vectors") / "operations.json"
SERVER_OPTIONS = ("--shutdown-mode", "flush", "--save", "", "--appendonly", "no")
LANES = 2
REPLAY_TIMEOUT_S = 60

Vector = dict[str, Any]


def names_before(vector: Vector, name: str) -> list[list[str]]:
    """For each operation of that name, the names of those before it."""
    names = [operation[0] for operation in vector["operations"]]
    return [names[:index] for index, found in enumerate(names) if found == name]


def is_for_the_wire(vector: Vector) -> bool:
    return not any("crash" in before for before in names_before(vector, "shutdown"))


def needs_a_fresh_medium(vector: Vector) -> bool:
    """A restore before the first shutdown sees what was there before; all others see the vector's frames."""
    return any("shutdown" not in before for before in names_before(vector, "restore"))


def wire_vectors() -> dict[int, Vector]:
    vectors: list[Vector] = json.loads(VECTORS.read_text(encoding="utf-8"))
    return {index: vector for index, vector in enumerate(vectors) if is_for_the_wire(vector)}


def exact(value: Any) -> str:
    """A text that tells 1 from 1.0 and true, and 0.0 from -0.0."""
    return json.dumps(value, sort_keys=True)


def replay(server: ServerProcess, protocol: int, operations: list[Any], folder: Path) -> Any:
    file = folder / "operations.json"
    file.write_text(json.dumps(operations), encoding="utf-8")
    done = subprocess.run(
        kvserver_command("replay", str(file), "--url", f"redis://127.0.0.1:{server.port}?protocol={protocol}"),
        capture_output=True,
        env=kvserver_environment(),
        timeout=REPLAY_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def failures_of(server: ServerProcess, protocol: int, vectors: dict[int, Vector], folder: Path) -> list[str]:
    failures = []
    for index, vector in vectors.items():
        server.once("FLUSHALL")
        results = replay(server, protocol, vector["operations"], folder)
        if exact(results) != exact(vector["expected"]):
            failures.append(f"vector {index}: {exact(results)} instead of {exact(vector['expected'])}")
    return failures


def run_lane(protocol: int, vectors: dict[int, Vector], folder: Path) -> list[str]:
    folder.mkdir()
    failures = []
    with ServerProcess("kvserver", folder, *SERVER_OPTIONS) as server:
        shared = {index: vector for index, vector in vectors.items() if not needs_a_fresh_medium(vector)}
        failures += failures_of(server, protocol, shared, folder)
    for index in vectors.keys() - shared.keys():
        fresh = folder / str(index)
        fresh.mkdir()
        with ServerProcess("kvserver", fresh, *SERVER_OPTIONS) as server:
            failures += failures_of(server, protocol, {index: vectors[index]}, fresh)
    return failures


@pytest.mark.timeout(300)
@pytest.mark.parametrize("protocol", [2, 3])
def test_vectors_over_the_wire_give_what_the_library_gives(tmp_path: Path, protocol: int) -> None:
    vectors = list(wire_vectors().items())
    lanes = [dict(vectors[lane::LANES]) for lane in range(LANES)]
    folders = [tmp_path / f"lane{lane}" for lane in range(LANES)]
    with ThreadPoolExecutor(LANES) as pool:
        failures = [line for lane in pool.map(run_lane, [protocol] * LANES, lanes, folders) for line in lane]
    assert not failures, "\n".join(failures)


def test_vectors_for_the_wire_are_most_of_them() -> None:
    vectors = wire_vectors()
    assert len(vectors) > 100
    assert any(needs_a_fresh_medium(vector) for vector in vectors.values())
    assert any(names_before(vector, "crash") for vector in vectors.values())
    assert any(before for vector in vectors.values() for before in names_before(vector, "shutdown"))
