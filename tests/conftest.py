"""The fixtures: a server for each module, emptied for each test; a factory for others; a server's state without a process."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from helpers.installs import Installs
from helpers.nats_servers import NatsServers
from helpers.s3_servers import CREDENTIALS, FakeS3, S3Server, fake_store, moto_server
from helpers.servers import COMMON_OPTIONS, IS_COMPILED, Kind, ServerProcess, StartServer
from helpers.sessions import Server
from kvserver.state.session import Session

# Hypothesis' deadline for an example is by the clock, and on a busy machine any example may take longer.
settings.register_profile("without deadlines", settings(), deadline=None)
settings.load_profile("without deadlines")


# Nothing that is collected is garbage before the run ends. To look for some among it would take half as long again.
gc.disable()


def pytest_collection_finish() -> None:
    """Put away all tests, so that the garbage collector doesn't look through them again and again while they run.

    A test that puts away more leaves it so: gc.unfreeze() would bring all of these back.
    """
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not IS_COMPILED:
        return
    skip = pytest.mark.skip(reason="kvserver is compiled: its constants and methods are built in and can't be replaced")
    for item in items:
        if item.get_closest_marker("patches_compiled"):
            item.add_marker(skip)


@pytest.fixture(scope="module")
def running_kvserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess("kvserver", tmp_path_factory.mktemp("kvserver"), *COMMON_OPTIONS) as server:
        yield server


@pytest.fixture(scope="module")
def running_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    directory = tmp_path_factory.mktemp("redis")
    with ServerProcess("redis-server", directory, *COMMON_OPTIONS) as server:
        yield server


@pytest.fixture
def kvserver(running_kvserver: ServerProcess) -> ServerProcess:
    assert running_kvserver.once("FLUSHALL") == b"+OK\r\n"
    return running_kvserver


@pytest.fixture
def redis_oracle(running_redis: ServerProcess) -> ServerProcess:
    """A real redis-server. Its replies are the right ones where kvserver doesn't mean to differ."""
    assert running_redis.once("FLUSHALL") == b"+OK\r\n"
    return running_redis


@pytest.fixture(scope="session")
def installs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installs:
    """The folders that other people's clients are installed in."""
    return Installs(getattr(request.config, "cache", None), tmp_path_factory.mktemp("installs"))


@pytest.fixture(scope="session")
def nats_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServers]:
    """One nats-server that syncs before it acknowledges. Tests leave it running, and use names of their own."""
    with NatsServers(tmp_path_factory.mktemp("nats")) as servers:
        yield servers


@pytest.fixture(scope="session")
def nats_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServers]:
    """Three of them that form a cluster. Tests leave them running, and use names of their own."""
    with NatsServers(tmp_path_factory.mktemp("nats-cluster"), 3) as servers:
        yield servers


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """A function that starts a server with the given options. All servers are gone after the test."""
    with ExitStack() as stack:

        def start(*options: str, kind: Kind = "kvserver", directory: Path | None = None) -> ServerProcess:
            place = directory or tmp_path / kind
            if directory is None:
                place.mkdir(exist_ok=True)
            return stack.enter_context(ServerProcess(kind, place, *options))

        yield start


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """moto's server, with a bucket `kvserver`, and in the environment what obstore logs in with."""
    with pytest.MonkeyPatch.context() as patch, moto_server() as server:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        server.make_bucket("kvserver")
        yield server


@pytest.fixture
def fake_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[S3Server, FakeS3]]:
    """A store whose faults the test chooses; it has any bucket."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with fake_store() as (server, store):
        yield server, store


@pytest.fixture
def server() -> Server:
    """A server's state, for handlers to run on."""
    return Server()


@pytest.fixture
def session(server: Server) -> Session:
    return server.session()
