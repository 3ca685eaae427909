"""The fixtures for pytest: a server that is empty at each test, its URL, and clients of redis-py for it.

pytest loads this module in every run of a project that has kvserver installed, so it imports next to nothing before a test
asks for a fixture. It knows of the server what a program does (`kvserver.running`), and no more.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import redis
    import redis.asyncio

    from kvserver.embedded import RunningServer

MARKER = "kvserver"
MARKER_HELP = (
    "kvserver(**options): run this test with a server of its own, which has these options beside those of the ini file; "
    "decode_responses=True has redis_client and async_redis_client give text"
)
NO_REDIS = "the fixture {} needs redis-py, which is not installed: pip install redis"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the ini file."""
    parser.addini(
        "kvserver_options", "options of the server of kvserver's fixtures: lines such as maxmemory=1mb", "linelist", default=[]
    )
    parser.addini(
        "kvserver_decode_responses", "redis_client and async_redis_client give text instead of bytes", "bool", default=False
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tell of the marker."""
    config.addinivalue_line("markers", MARKER_HELP)


# --- The server ---


@pytest.fixture(scope="session")
def kvserver_session(pytestconfig: pytest.Config) -> Iterator[RunningServer]:
    """A server for the whole session, or in each worker of pytest-xdist: for fixtures of a wider scope than a test.

    It has nothing on the disk, unless the ini file's `kvserver_options` name a `dir`. It is emptied for each test that uses
    `kvserver_server`, or one of the fixtures that are made of it.
    """
    with _started(_options_of(pytestconfig)) as server:
        yield server


@pytest.fixture
def kvserver_server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    """A server that is as good as new: no keys, functions or scripts, no faults, its first options, the system's time.

    It is the session's server. A test with the marker `@pytest.mark.kvserver(maxmemory="1mb")` has one of its own with these
    options, and so has a test in a forked process, where the session's does not run.

    - `server.url`, `.port`, `.address`: where it is
    - `server.clock.advance(60)`: a minute passes
    - `server.faults.refuse_writes()`, `.delay(0.1)`, `.drop_connections()`, `.crash()`: something goes wrong. With
      `@pytest.mark.kvserver(appendonly=True)`, `server.restart()` has the data again behind a crash; by default it has none.
    """
    marked = {name: value for name, value in _marked(request).items() if name != "decode_responses"}
    shared: RunningServer | None = None if marked else request.getfixturevalue("kvserver_session")
    if shared is None or shared.is_elsewhere:
        with _started(_options_of(request.config) | marked) as server:
            yield server
        return
    if not shared.is_running:
        # The test before has crashed it, or shut it down.
        shared.restart()
    shared.empty()
    yield shared


@pytest.fixture
def kvserver_url(kvserver_server: RunningServer) -> str:
    """The URL of `kvserver_server`, such as redis://127.0.0.1:34567/0."""
    return kvserver_server.url


# --- Clients ---


@pytest.fixture
def redis_client(kvserver_server: RunningServer, request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """A client of redis-py for `kvserver_server`. It is closed behind the test."""
    try:
        import redis
    except ImportError:
        pytest.fail(NO_REDIS.format("redis_client"), pytrace=False)
    client = redis.Redis.from_url(kvserver_server.url, decode_responses=_decodes(request))
    yield client
    client.close()
    client.connection_pool.disconnect()


@pytest.fixture
def async_redis_client(kvserver_server: RunningServer, request: pytest.FixtureRequest) -> Iterator[redis.asyncio.Redis]:
    """A client of redis.asyncio for `kvserver_server`. It is closed behind the test, on the loop of the test.

    It needs no plugin by itself: it works in tests that pytest-asyncio runs, and in those that anyio's plugin runs.
    """
    try:
        import redis.asyncio
    except ImportError:
        pytest.fail(NO_REDIS.format("async_redis_client"), pytrace=False)

    class Pool(redis.asyncio.ConnectionPool):
        """Connections that are closed when their loop is about to end."""

        is_over = False

        async def release(self, connection: Any) -> None:
            await super().release(connection)
            # A fixture that ends behind the test uses the client, perhaps for the last time.
            if self.is_over:
                await self.disconnect()

    pool = Pool.from_url(kvserver_server.url, decode_responses=_decodes(request))

    async def end() -> None:
        pool.is_over = True
        await pool.disconnect()

    with _ended_by(end, request.node):
        yield redis.asyncio.Redis(connection_pool=pool)
    for connection in (*pool._available_connections, *pool._in_use_connections):
        _close_without_loop(connection)


def _close_without_loop(connection: Any) -> None:
    """Close a connection of redis.asyncio that is open still, whose loop may be gone: there nobody else can close it."""
    writer = connection._writer
    if writer is None:
        return
    connection._writer = connection._reader = None
    transport = writer.transport
    try:
        transport.abort()
    except RuntimeError:
        # The loop is closed. asyncio's would have closed the socket so in its next turn; uvloop's has closed it.
        if close := getattr(transport, "_call_connection_lost", None):
            close(None)


@contextmanager
def _ended_by(end: Callable[[], Awaitable[None]], node: Any) -> Iterator[None]:
    """Have a test, if it is a coroutine, await this as the last thing that it does, while its loop is still there."""
    # Under hypothesis the test itself is within what pytest calls.
    owner, name = (node.obj.hypothesis, "inner_test") if hasattr(node.obj, "hypothesis") else (node, "obj")
    test = getattr(owner, name)
    if not inspect.iscoroutinefunction(test):
        yield
        return

    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return await test(*args, **kwargs)
        finally:
            await end()

    setattr(owner, name, run)
    yield
    setattr(owner, name, test)


# --- What was asked for ---


@contextmanager
def _started(options: Mapping[str, Any]) -> Iterator[RunningServer]:
    """A server with these options. What is wrong with them, or in its way, fails the test with one line."""
    import kvserver

    failure = ""
    try:
        server = kvserver.running(**options)
        server.start()
    except kvserver.KVServerError as error:
        failure = str(error)
    # Outside of the except clause, so that pytest has no other exception to tell of.
    if failure:
        pytest.fail(f"kvserver: {failure}", pytrace=False)
    with server:
        yield server


def _options_of(config: pytest.Config) -> dict[str, Any]:
    """The options of the ini file. Each worker of pytest-xdist has a folder of its own below `dir`."""
    options = {}
    for line in config.getini("kvserver_options"):
        name, equals, value = line.partition("=")
        if not equals:
            pytest.fail(f"kvserver_options: a line is name=value, not {line!r}", pytrace=False)
        options[name.strip().replace("-", "_")] = value.strip()
    worker = getattr(config, "workerinput", {}).get("workerid", "")
    if worker and options.get("dir", "memory:") != "memory:":
        options["dir"] = os.path.join(options["dir"], worker)
    return options


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The options of the markers of a test: those that are nearest to it count."""
    options: dict[str, Any] = {}
    for marker in request.node.iter_markers(MARKER):
        if marker.args:
            pytest.fail(f"the marker kvserver takes options by name, not {marker.args!r}", pytrace=False)
        options = {**marker.kwargs, **options}
    return options


def _decodes(request: pytest.FixtureRequest) -> bool:
    return bool(_marked(request).get("decode_responses", request.config.getini("kvserver_decode_responses")))
