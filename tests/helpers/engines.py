"""All kinds of engines, by their names, each on data that is fresh and empty: what the contract suite runs on."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from helpers.faulty_engine import Faults, faulty
from helpers.s3_servers import S3Server
from kvserver.media.folder_engine import open_folder_engine
from kvserver.media.memory_engine import open_memory_engine
from kvserver.media.nats import open_nats
from kvserver.media.s3 import open_s3
from kvserver.media.shared import Engine

# It opens an engine on the same data each time, as another node would.
Opener = Callable[[], Engine]


class EngineKind(NamedTuple):
    """A kind of engine. `fresh` makes empty data, with fixtures that it asks for by name, and returns what opens it."""

    name: str
    fresh: Callable[[pytest.FixtureRequest], Opener]


def _memory(request: pytest.FixtureRequest) -> Opener:
    name = secrets.token_hex(8)
    return lambda: open_memory_engine(name)


def _delayed(request: pytest.FixtureRequest) -> Opener:
    open_it = _memory(request)
    return lambda: faulty(open_it(), Faults(random.Random(1), {"delay": 0.2}))


def _folder(request: pytest.FixtureRequest) -> Opener:
    path: Path = request.getfixturevalue("tmp_path")
    return lambda: open_folder_engine(f"file:{path / 'kv'}")


def _nats(request: pytest.FixtureRequest, servers: str) -> Opener:
    url = request.getfixturevalue(servers).url(f"contract-{secrets.token_hex(8)}")
    return lambda: open_nats(url)


def _s3(request: pytest.FixtureRequest) -> Opener:
    server: S3Server = request.getfixturevalue("s3_server")
    url = server.url(f"kvserver/{secrets.token_hex(8)}")
    # The probe has tests of its own.
    return lambda: open_s3(url, rounds=0)


KINDS = [
    EngineKind("memory", _memory),
    EngineKind("memory behind delays", _delayed),
    EngineKind("folder", _folder),
    EngineKind("NATS with one node", partial(_nats, servers="nats_node")),
    EngineKind("NATS with three nodes", partial(_nats, servers="nats_cluster")),
    EngineKind("s3", _s3),
]
