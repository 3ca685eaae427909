"""What takes the place of both conftest.py files of throttled-py's tests, where the fixtures are made of fakeredis.

In `tests/asyncio`, `STORES` is throttled.asyncio.
"""

from __future__ import annotations

import importlib
from typing import Any

import pytest

STORES: Any = importlib.import_module("throttled.asyncio" if "asyncio" in __file__ else "throttled")


@pytest.fixture
def redis_store(kvserver_url: str) -> Any:
    return STORES.RedisStore(server=kvserver_url)


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Any:
    return STORES.MemoryStore() if request.param == "memory" else request.getfixturevalue("redis_store")


@pytest.fixture(scope="class")
def benchmark() -> Any:
    return importlib.import_module("throttled.utils").Benchmark()
