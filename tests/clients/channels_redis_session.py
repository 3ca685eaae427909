"""A program that uses channels_redis, its layer that sends by PUBLISH: `python channels_redis_session.py PORT`.

It prints what it leaves out, with the reason, and then the version.
"""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import version
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer

LEFT_OUT = ("RedisChannelLayer: it blocks in BZPOPMIN and cleans up by Lua scripts",)


async def use(port: int) -> None:
    address = f"redis://127.0.0.1:{port}/0"
    layer: Any = RedisPubSubChannelLayer(hosts=[address])
    other: Any = RedisPubSubChannelLayer(hosts=[address])
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

    # To stop waiting for a channel is to unsubscribe from it.
    waiting = asyncio.ensure_future(layer.receive(second))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert second not in layer.channels
    for each in (layer, other):
        await each.flush()


def main(port: int) -> None:
    asyncio.run(use(port))
    for what in LEFT_OUT:
        print("left out:", what)
    print(version("channels_redis"))


if __name__ == "__main__":
    main(int(sys.argv[1]))
