"""All kinds of engines, by their names, each on data that is fresh and empty: what the contract suite runs on."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import NamedTuple

import pytest

from kvserver.media.memory_engine import open_memory_engine
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


KINDS = [EngineKind("memory", _memory)]
