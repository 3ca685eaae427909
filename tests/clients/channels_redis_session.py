"""A program that uses channels_redis, both of its layers: `python channels_redis_session.py PORT`.

It prints the version last.
"""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import version
from typing import Any

from channels.exceptions import ChannelFull
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer


async def use(layer: Any, other: Any) -> None:
    """What both kinds of layers can, with two that share a server."""
    mine, second, foreign = await layer.new_channel(), await layer.new_channel(), await other.new_channel()

    message = {"type": "chat", "text": "é", "bytes": b"\xff\0", "number": 1.5, "parts": [1, None, True]}
    await other.send(mine, message)
    assert await layer.receive(mine) == message
    # A channel keeps the order, and what nobody receives yet.
    for number in range(20):
        await layer.send(foreign, {"number": number})
    assert [(await other.receive(foreign))["number"] for _ in range(20)] == list(range(20))

    for channel in (mine, second):
        await layer.group_add("room", channel)
    await other.group_add("room", foreign)
    await other.group_send("room", {"type": "hello"})
    heard = await asyncio.gather(layer.receive(mine), layer.receive(second), other.receive(foreign))
    assert list(heard) == [{"type": "hello"}] * 3

    await layer.group_discard("room", second)
    await layer.group_send("room", {"type": "again"})
    assert await layer.receive(mine) == await other.receive(foreign) == {"type": "again"}
    # What comes behind it on the same connection has come first, if "again" came to the second at all.
    await layer.send(second, {"type": "last"})
    assert await layer.receive(second) == {"type": "last"}


async def use_messages(layer: Any, _: Any) -> None:
    """What is special to the layer by PUBLISH: to stop waiting for a channel is to unsubscribe from it."""
    channel = await layer.new_channel()
    assert channel in layer.channels
    waiting = asyncio.ensure_future(layer.receive(channel))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert channel not in layer.channels


async def use_queues(layer: Any, other: Any) -> None:
    """What is special to the core layer: channels that several processes read, and that take so many messages."""
    for number in range(5):
        await layer.send("jobs", {"number": number})
    try:
        await layer.send("jobs", {"number": 5})
    except ChannelFull:
        pass
    else:
        raise AssertionError("a full channel took a message")
    # One that read after another would get again what that one has not yet told to be received.
    assert [(await other.receive("jobs"))["number"] for _ in range(5)] == list(range(5))


async def main(port: int) -> None:
    hosts = [f"redis://127.0.0.1:{port}/0"]
    capacity = {"capacity": 20, "channel_capacity": {"jobs": 5}}
    for kind, options, special in ((RedisPubSubChannelLayer, {}, use_messages), (RedisChannelLayer, capacity, use_queues)):
        layer: Any = kind(hosts=hosts, **options)
        other: Any = kind(hosts=hosts, **options)
        await use(layer, other)
        await special(layer, other)
        for each in (layer, other):
            await each.flush()
    print(version("channels_redis"))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
