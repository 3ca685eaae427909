"""The fixtures in runs of pytest: a server is empty at each test, alone and in parallel, and what is wrong is one line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from helpers.servers import kvserver_environment

pytest_plugins = ["pytester"]

INI = """
[pytest]
asyncio_default_fixture_loop_scope = function
asyncio_mode = strict
filterwarnings = error
"""


@pytest.fixture(autouse=True)
def ini_file(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run has the environment of a project of its own, where a warning is an error."""
    pytester.makeini(INI)
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in kvserver_environment().items():
        monkeypatch.setenv(name, value)


def run(pytester: pytest.Pytester, *words: str) -> pytest.RunResult:
    # That plugin alone takes longer to start than all others.
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest", *words, timeout=100)


def test_plugin_imports_next_to_nothing() -> None:
    asked = "import sys, pytest; before = set(sys.modules); import kvserver.pytest_plugin; print(*set(sys.modules) - before)"
    told = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, env=kvserver_environment(), check=True
    )
    assert set(told.stdout.split()) <= {"kvserver", "kvserver.version", "kvserver.pytest_plugin"}


ISOLATED = """
import time
import pytest
import redis

LIBRARY = "#!lua name=mine\\nredis.register_function('f', function() return 1 end)"
listener = None


@pytest.mark.parametrize("number", range(3))
def test_isolated(redis_client, kvserver_server, kvserver_url, number):
    global listener
    client = redis_client
    assert client.dbsize() == 0
    assert client.function_list() == []
    assert client.script_exists("e0e1f9fabfc9d4800c877a703b823ac0578ff8db") == [False]
    assert client.config_get("maxmemory") == {"maxmemory": "0"}
    assert abs(kvserver_server.clock.now() - time.time()) < 60
    assert client.publish("channel", "x") == 0
    assert client.set("a", number)
    if listener:
        with pytest.raises(redis.ConnectionError):
            listener.parse_response()
        listener.close()
    client.function_load(LIBRARY)
    assert client.script_load("return 1") == "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
    client.config_set("maxmemory", 1 << 20)
    kvserver_server.clock.advance(60)
    kvserver_server.faults.refuse_writes()
    listener = redis.Redis.from_url(kvserver_url, retry=None).pubsub()
    listener.subscribe("channel")
    assert listener.parse_response()[0] == b"subscribe"
    if number == 2:
        listener.close()


def test_crashed(kvserver_server, redis_client):
    redis_client.set("a", 1)
    redis_client.save()
    kvserver_server.faults.crash()


def test_after_a_crash(redis_client):
    assert redis_client.dbsize() == 0
    redis_client.shutdown()


def test_after_a_shutdown(redis_client):
    assert redis_client.ping()
"""


def test_each_test_finds_a_server_as_good_as_new(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(ISOLATED)
    run(pytester).assert_outcomes(passed=6)


def test_each_worker_has_a_server_of_its_own_for_all_of_its_tests(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import os
        import pytest

        @pytest.mark.parametrize("number", range(20))
        def test_alone(redis_client, kvserver_server, number):
            assert redis_client.dbsize() == 0
            redis_client.set(os.environ["PYTEST_XDIST_WORKER"], 1)
            with open("ports", "a") as ports:
                print(os.environ["PYTEST_XDIST_WORKER"], kvserver_server.port, file=ports)
            assert [key.decode() for key in redis_client.keys()] == [os.environ["PYTEST_XDIST_WORKER"]]
    """)
    run(pytester, "-n", "2", "--dist", "load").assert_outcomes(passed=20)
    seen = {tuple(line.split()) for line in (pytester.path / "ports").read_text().splitlines()}
    assert len(seen) == len({port for _, port in seen}) == len({worker for worker, _ in seen}) == 2


def test_options_come_from_the_ini_file_and_from_markers(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI + "kvserver_options =\n    maxmemory=2mb\n    notify-keyspace-events = KEA\n")
    pytester.makepyfile("""
        import pytest

        pytestmark = pytest.mark.kvserver(databases=4)

        def options(client):
            return client.config_get("maxmemory", "databases", "notify-keyspace-events")

        def test_module(redis_client):
            assert options(redis_client) == {"maxmemory": "2097152", "databases": "4", "notify-keyspace-events": "AKE"}

        @pytest.mark.kvserver(maxmemory="1mb", databases=2)
        def test_nearest(redis_client):
            assert options(redis_client) == {"maxmemory": "1048576", "databases": "2", "notify-keyspace-events": "AKE"}

        @pytest.mark.kvserver(requirepass="secret", decode_responses=True)
        def test_password_and_text(redis_client, kvserver_url):
            assert kvserver_url.startswith("redis://:secret@127.0.0.1:")
            redis_client.set("a", 1)
            assert redis_client.get("a") == "1"

        def test_folder_lasts(tmp_path, request):
            request.applymarker(pytest.mark.kvserver(dir=tmp_path / "data"))
            client = request.getfixturevalue("redis_client")
            client.set("a", 1)
            assert (tmp_path / "data").exists()
    """)
    run(pytester, "--strict-markers").assert_outcomes(passed=4)


def test_text_for_all_by_the_ini_file_from_the_server_of_the_session(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI + "kvserver_decode_responses = true\n")
    pytester.makepyfile("""
        import pytest

        def test_text(redis_client):
            redis_client.set("a", 1)
            assert redis_client.get("a") == "1"

        @pytest.fixture(scope="session")
        def url_of_the_app(kvserver_session):
            return kvserver_session.url

        @pytest.mark.kvserver(decode_responses=False)
        def test_bytes(redis_client, kvserver_url, url_of_the_app):
            assert kvserver_url == url_of_the_app
            redis_client.set("a", 1)
            assert redis_client.get("a") == b"1"
    """)
    run(pytester).assert_outcomes(passed=2)


ASYNC = """
import gc
import hypothesis
import pytest
import pytest_asyncio


@pytest_asyncio.fixture
async def filled(async_redis_client):
    await async_redis_client.set("a", 1)
    yield async_redis_client
    await async_redis_client.delete("a")


@pytest.mark.asyncio
async def test_fixture_that_uses_the_client_behind_the_test(filled):
    assert await filled.get("a") == b"1"


@pytest.mark.asyncio
async def test_async(async_redis_client):
    assert await async_redis_client.set("a", 1)
    assert await async_redis_client.get("a") == b"1"


class TestClass:
    @pytest.mark.asyncio
    @pytest.mark.parametrize("number", [1, 2])
    async def test_method(self, async_redis_client, number, kvserver_server):
        assert await async_redis_client.dbsize() == 0
        await async_redis_client.set("a", 1, ex=10)
        kvserver_server.clock.advance(10)
        assert not await async_redis_client.exists("a")


@pytest.mark.asyncio
@hypothesis.given(hypothesis.strategies.binary())
@hypothesis.settings(max_examples=3, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
async def test_property(async_redis_client, value):
    await async_redis_client.set("a", value)
    assert await async_redis_client.get("a") == value


@pytest.mark.asyncio
async def test_failing(async_redis_client):
    await async_redis_client.set("a", 1)
    assert await async_redis_client.get("a") == b"2"


def test_nothing_is_left_open():
    gc.collect()
"""


def test_async_client_in_tests_of_pytest_asyncio(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(ASYNC)
    run(pytester, "-p", "hypothesispytest").assert_outcomes(passed=6, failed=1)


# --- what is wrong


WRONG = """
import socket
import pytest

taken = socket.create_server(("127.0.0.1", 0))

@pytest.mark.kvserver(maxmemry="1mb")
def test_name(redis_client): pass

@pytest.mark.kvserver(maxmemory="much")
def test_value(redis_client): pass

@pytest.mark.kvserver(port=taken.getsockname()[1])
def test_port(redis_client): pass

@pytest.mark.kvserver(dir="/dev/null")
def test_folder(redis_client): pass

@pytest.mark.kvserver("1mb")
def test_marker(redis_client): pass

def test_end():
    taken.close()
"""


def test_async_client_is_closed_where_its_loop_is_gone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import asyncio
        import gc
        import unittest
        import pytest
        import pytest_asyncio

        @pytest.fixture(autouse=True)
        def collected(request):
            yield
            gc.collect()

        class TestOfUnittest(unittest.IsolatedAsyncioTestCase):
            @pytest.fixture(autouse=True)
            def keep(self, async_redis_client): self.client = async_redis_client
            async def test_it(self): await self.client.set("a", 1)

        def test_run(async_redis_client): asyncio.run(async_redis_client.set("a", 1))

        @pytest_asyncio.fixture
        async def filled(async_redis_client): await async_redis_client.set("a", 1)

        def test_fixture(filled): pass

        def test_all_are_closed(redis_client):
            assert redis_client.info("clients")["connected_clients"] == 1
    """)
    run(pytester).assert_outcomes(passed=4)


def test_each_worker_has_a_folder_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI + "kvserver_options = dir=data\n")
    pytester.makepyfile("""
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_it(redis_client, number): redis_client.set("a", number)
    """)
    # They are made, and held, at the same time.
    run(pytester, "-n", "2", "--dist", "each").assert_outcomes(passed=8)
    assert sorted(path.name for path in (pytester.path / "data").iterdir()) == ["gw0", "gw1"]


def test_wrong_option_is_one_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(WRONG)
    result = run(pytester)
    result.assert_outcomes(errors=5, passed=1)
    for name, line in (
        ("name", "kvserver: maxmemry: unknown option; did you mean maxmemory?"),
        ("value", "kvserver: maxmemory: argument must be a memory value (got 'much')"),
        ("port", 'kvserver: cannot listen on 127.0.0.1:*: Address already in use; port="auto" takes any that is free'),
        ("folder", "kvserver: cannot use the directory /dev/null: Not a directory"),
        ("marker", "the marker kvserver takes options by name, not ('1mb',)"),
    ):
        result.stdout.fnmatch_lines([f"*ERROR at setup of test_{name}*", line])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    assert "During handling" not in result.stdout.str()


def test_wrong_line_of_the_ini_file_is_one_line(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI + "kvserver_options = maxmemory 1mb\n")
    pytester.makepyfile("def test_it(kvserver_url): pass")
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["kvserver_options: a line is name=value, not 'maxmemory 1mb'"])


def test_missing_redis_py_is_told_with_the_way_to_it(pytester: pytest.Pytester) -> None:
    (pytester.path / "redis.py").write_text("raise ImportError('No module named redis')")
    pytester.makepyfile("""
        def test_server(kvserver_url): pass
        def test_client(redis_client): pass
        def test_async_client(async_redis_client): pass
    """)
    pytester.syspathinsert()
    result = run(pytester)
    result.assert_outcomes(passed=1, errors=2)
    for name in ("redis_client", "async_redis_client"):
        result.stdout.fnmatch_lines([f"the fixture {name} needs redis-py, which is not installed: pip install redis"])


FORKED = """
import os
import pytest
import kvserver


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    # As pytest-forked does it.
    if not item.name.startswith("test_forked"):
        return None
    from _pytest.runner import runtestprotocol

    child = os.fork()
    if not child:
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        os._exit(sum(report.failed for report in reports))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with open("statuses", "a") as statuses:
        print(status, file=statuses)
    return True
"""


def test_test_in_a_forked_process_has_a_server_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(FORKED)
    pytester.makepyfile("""
        import os
        import pytest
        from kvserver.errors import NotRunning

        port = None

        def test_first(kvserver_server, redis_client):
            global port
            port = kvserver_server.port
            redis_client.set("a", 1)

        def test_forked(kvserver_server, redis_client):
            assert kvserver_server.port != port
            kvserver_server.clock.advance(60)
            assert redis_client.dbsize() == 0

        def test_forked_uses_what_it_must_not(kvserver_session):
            with pytest.raises(NotRunning, match="from which this one was forked: start another one here"):
                kvserver_session.clock.advance(60)

        def test_last(kvserver_server, redis_client):
            assert kvserver_server.port == port
            assert redis_client.ping()
    """)
    run(pytester).assert_outcomes(passed=2)
    assert (pytester.path / "statuses").read_text() == "0\n0\n"
