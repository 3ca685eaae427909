"""A program with two web servers of python-socketio, which hear of each other's events through the server.

`REDIS_URL=redis://127.0.0.1:PORT/0 python socketio_session.py` prints the version last. Events are messages: those that nobody
hears are gone, and so none is sent while the server is away.
"""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import version
from typing import Any

import socketio
from aiohttp import web
from redis.asyncio import Redis

from clients import jobs


async def start_node() -> tuple[Any, int]:
    """A web server whose clients may enter rooms, and its port."""
    node: Any = socketio.AsyncServer(client_manager=socketio.AsyncRedisManager(jobs.URL))

    @node.event
    async def enter(sid: str, room: str) -> str:
        await node.enter_room(sid, room)
        return "entered"

    application = web.Application()
    node.attach(application)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return node, runner.addresses[0][1]


async def connect(port: int, room: str) -> tuple[Any, asyncio.Queue[Any]]:
    """A client of a node, in a room, and the events that come to it."""
    client: Any = socketio.AsyncClient()
    events: asyncio.Queue[Any] = asyncio.Queue()
    client.on("news", events.put)
    await client.connect(f"http://127.0.0.1:{port}", transports=["websocket"])
    assert await client.call("enter", room) == "entered"
    return client, events


async def wait_for_subscribers(count: int) -> None:
    """Wait until so many nodes hear events. Nodes ask again by themselves where they lost the server."""
    async with Redis.from_url(jobs.URL) as redis, asyncio.timeout(jobs.DEADLINE_S):
        while await redis.pubsub_numsub("socketio") != [(b"socketio", count)]:
            pass


async def use(nodes: list[Any], listeners: list[asyncio.Queue[Any]]) -> None:
    outside: Any = socketio.AsyncRedisManager(jobs.URL, write_only=True)
    async with asyncio.timeout(jobs.DEADLINE_S):
        for sender in (*nodes, outside):
            await sender.emit("news", {"to": "all"})
            assert [await listener.get() for listener in listeners] == [{"to": "all"}] * 2
        for sender in (*nodes, outside):
            await sender.emit("news", ["é", 1], room="second")
            await sender.emit("news", {"bytes": b"\xff\0"}, room="second")
            assert [await listeners[1].get() for _ in range(2)] == [["é", 1], {"bytes": b"\xff\0"}]
    assert all(listener.empty() for listener in listeners)


async def main() -> None:
    nodes, clients, listeners = [], [], []
    for room in ("first", "second"):
        node, port = await start_node()
        client, events = await connect(port, room)
        nodes.append(node)
        clients.append(client)
        listeners.append(events)
    await wait_for_subscribers(2)
    await use(nodes, listeners)
    await asyncio.to_thread(jobs.restart_server)
    await wait_for_subscribers(2)
    await use(nodes, listeners)
    for client in clients:
        await client.disconnect()
    for node in nodes:
        await node.shutdown()
    print(version("python-socketio"))
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
