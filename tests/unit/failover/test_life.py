"""The life of a server that is a node: it leaves, yields and is demoted at any moment, and always ends as it was told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions

import kvserver
from helpers.memory_nodes import client_of, leads, node, take_over_by_force, until
from helpers.node_parts import fresh_engine
from kvserver.errors import MediumError, NotRunning
from kvserver.failover import shared_data

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def name() -> str:
    return fresh_engine().name


@pytest.fixture
async def one(name: str) -> AsyncIterator[kvserver.Server]:
    """A node that leads, alone."""
    server = node(name)
    await server.start()
    assert leads(server)
    yield server
    async with asyncio.timeout(20):
        await server.stop()


async def ends(server: kvserver.Server) -> None:
    async with asyncio.timeout(20):
        await server.stop()
    assert not server.is_running
    assert server.ended.done()
    # Nothing comes back.
    for _ in range(50):
        await asyncio.sleep(0)
    assert not server.is_running


async def test_node_whose_place_another_one_has_taken_ends_when_it_is_told_to(name: str, one: kvserver.Server) -> None:
    take_over_by_force(name, 2)
    await ends(one)


async def test_signal_ends_such_a_node_too(name: str, one: kvserver.Server) -> None:
    take_over_by_force(name, 2)
    leaving = asyncio.ensure_future(one.leave())
    async with asyncio.timeout(20):
        await one.ended
    leaving.cancel()
    await ends(one)


async def test_failover_of_such_a_node_demotes_it_once(name: str, one: kvserver.Server) -> None:
    take_over_by_force(name, 2)
    with pytest.raises(MediumError):
        await one.fail_over()
    await until(lambda: one.is_running)
    assert not leads(one)
    assert not one.ended.done()


def calls_of(client: Any) -> Callable[..., Any]:
    """What sends a call of any words, which has no types in redis-py."""
    return client.execute_command  # type: ignore[no-any-return]


async def test_users_stay_when_a_node_is_demoted(name: str, one: kvserver.Server) -> None:
    async with client_of(one) as client:
        call = calls_of(client)
        await call("ACL", "SETUSER", "ada", "on", ">secret", "~ada:*", "+get")
        users = await call("ACL", "LIST")
        with pytest.raises(redis.exceptions.AuthenticationError):
            await call("AUTH", "ada", "wrong")
    await one.fail_over()
    await until(lambda: one.is_running)
    async with client_of(one) as client:
        call = calls_of(client)
        assert await call("ACL", "LIST") == users
        assert len(await call("ACL", "LOG")) == 1
        assert await call("AUTH", "ada", "secret")


async def test_two_failovers_at_once_are_one(one: kvserver.Server) -> None:
    results = await asyncio.gather(one.fail_over(), one.fail_over(), return_exceptions=True)
    assert [type(result) for result in results] in ([type(None), NotRunning], [type(None), type(None)])
    await until(lambda: one.is_running)
    assert not leads(one)


@pytest.mark.parametrize("turns", [0, 1, 3, 30, 300])
async def test_node_that_yields_ends_when_it_is_told_to(one: kvserver.Server, turns: int) -> None:
    yielding = asyncio.ensure_future(one.fail_over())
    for _ in range(turns):
        await asyncio.sleep(0)
    await ends(one)
    await asyncio.gather(yielding, return_exceptions=True)
    await ends(one)


async def test_node_that_is_demoted_right_before_it_begins_to_leave_ends(one: kvserver.Server) -> None:
    ending = asyncio.ensure_future(one.stop())
    await asyncio.sleep(0)
    assert one._parts.leaving
    assert not one.state.replication.is_leaving
    one._demote()
    async with asyncio.timeout(20):
        await ending
    await ends(one)


@pytest.mark.parametrize("turns", [0, 1, 3, 30, 300])
async def test_node_that_is_being_demoted_ends_when_it_is_told_to(name: str, one: kvserver.Server, turns: int) -> None:
    take_over_by_force(name, 2)
    async with client_of(one) as client:
        with pytest.raises((redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)):
            await client.set("a", "lost")
    for _ in range(turns):
        await asyncio.sleep(0)
    await ends(one)


async def test_what_config_set_has_set_outlives_a_demotion(one: kvserver.Server) -> None:
    async with client_of(one) as client:
        await client.config_set("requirepass", "secret")
    await one.fail_over()
    await until(lambda: one.is_running)
    async with redis.asyncio.Redis(port=one.port) as client:
        with pytest.raises(redis.exceptions.AuthenticationError):
            await client.get("a")
    # A start has what was given.
    await one.restart()
    async with redis.asyncio.Redis(port=one.port) as client:
        await client.get("a")


async def test_who_does_not_lead_has_nothing_to_yield_or_to_empty(name: str, one: kvserver.Server) -> None:
    async with node(name) as other:
        with pytest.raises(NotRunning):
            await other.fail_over()
        with pytest.raises(NotRunning, match="follows another one"):
            await other.empty()
    with pytest.raises(NotRunning):
        await other.fail_over()
    async with kvserver.Server() as alone:
        with pytest.raises(NotRunning):
            await alone.fail_over()


async def test_server_may_leave_while_its_engine_is_opened(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, go_on = asyncio.Event(), asyncio.Event()
    open_for = shared_data.open_for

    async def open_late(*arguments: Any) -> Any:
        opened.set()
        await go_on.wait()
        return await open_for(*arguments)

    monkeypatch.setattr(shared_data, "open_for", open_late)
    server = node(name)
    starting = asyncio.ensure_future(server.start())
    await opened.wait()
    await server.leave()
    async with asyncio.timeout(10):
        await starting
        await server.ended
    assert not server.is_running
    go_on.set()
    async with server:
        assert leads(server)
