"""The vectors over the wire: `kvserver replay FILE --url` prints the same results as the library gives.

Vectors with a shutdown behind a crash are left out: the library's plain medium keeps the torn bytes, the server cuts them off.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from helpers.servers import PROJECT, ServerProcess, kvserver_command, kvserver_environment
from kvserver.cli.main import main

VECTORS = PROJECT.joinpath("tests", "vectors") / "operations.json"
SERVER_OPTIONS = ("--shutdown-mode", "flush", "--save", "", "--appendonly", "no")
REPLAY_TIMEOUT_S = 60

Vector = dict[str, Any]


def names_before(vector: Vector, name: str) -> list[list[str]]:
    """For each operation of that name, the names of those before it."""
    names = [operation[0] for operation in vector["operations"]]
    return [names[:index] for index, found in enumerate(names) if found == name]


def is_for_the_wire(vector: Vector) -> bool:
    return not any("crash" in before for before in names_before(vector, "shutdown"))


def needs_a_medium_of_its_own(vector: Vector) -> bool:
    """True if a restore before the first of its shutdowns would see the frames of other vectors."""
    restores, shutdowns = (names_before(vector, name) for name in ("restore", "shutdown"))
    return bool(shutdowns) and any("shutdown" not in before for before in restores)


def wire_vectors() -> dict[int, Vector]:
    vectors: list[Vector] = json.loads(VECTORS.read_text(encoding="utf-8"))
    return {index: vector for index, vector in enumerate(vectors) if is_for_the_wire(vector)}


def exact(value: Any) -> str:
    """A text that tells 1 from 1.0 and true, and 0.0 from -0.0."""
    return json.dumps(value, sort_keys=True)


def by_the_command(words: list[str]) -> str:
    """The text that a process of its own prints."""
    done = subprocess.run(
        kvserver_command(*words), capture_output=True, env=kvserver_environment(), timeout=REPLAY_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


class Replays:
    """The replays of vectors by one protocol, and what was wrong with them.

    The first one is run by the command itself, and the others by the function that this calls: to start Python takes a hundred
    times as long as a replay.
    """

    def __init__(self, protocol: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.failures: list[str] = []
        self._protocol = protocol
        self._folder = folder
        self._capsys = capsys
        # The last one stays.
        self._calls = [by_the_command, self._by_the_function]

    def run(self, name: str, vectors: dict[int, Vector]) -> None:
        """Replay vectors against a new server, one after the other."""
        folder = self._folder / name
        folder.mkdir()
        file = folder / "operations.json"
        with ServerProcess("kvserver", folder, *SERVER_OPTIONS) as server:
            words = ["replay", str(file), "--url", f"redis://127.0.0.1:{server.port}?protocol={self._protocol}"]
            for index, vector in vectors.items():
                call, self._calls = self._calls[0], self._calls[-1:]
                server.once("FLUSHALL")
                file.write_text(json.dumps(vector["operations"]), encoding="utf-8")
                results, expected = exact(json.loads(call(words))), exact(vector["expected"])
                if results != expected:
                    self.failures.append(f"vector {index}: {results} instead of {expected}")

    def _by_the_function(self, words: list[str]) -> str:
        code = main(words)
        printed = self._capsys.readouterr()
        assert code == 0, printed.err
        return printed.out


@pytest.mark.parametrize("protocol", [2, 3])
def test_vectors_over_the_wire_give_what_the_library_gives(
    tmp_path: Path, protocol: int, capsys: pytest.CaptureFixture[str]
) -> None:
    # While no vector has had a shutdown, the medium is as good as new.
    vectors = dict(sorted(wire_vectors().items(), key=lambda item: bool(names_before(item[1], "shutdown"))))
    alone = {index for index, vector in vectors.items() if needs_a_medium_of_its_own(vector)}
    replays = Replays(protocol, tmp_path, capsys)
    replays.run("shared", {index: vector for index, vector in vectors.items() if index not in alone})
    for index in alone:
        replays.run(str(index), {index: vectors[index]})
    assert not replays.failures, "\n".join(replays.failures)


def test_vectors_for_the_wire_are_most_of_them() -> None:
    vectors = wire_vectors()
    assert len(vectors) > 100
    assert any(needs_a_medium_of_its_own(vector) for vector in vectors.values())
    assert any(names_before(vector, "crash") for vector in vectors.values())
    assert any(before for vector in vectors.values() for before in names_before(vector, "shutdown"))
