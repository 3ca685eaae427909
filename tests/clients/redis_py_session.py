"""A program that uses redis-py, whichever version is imported: `python redis_py_session.py PORT`.

The tests call its functions with the newest redis-py, and run it as a program with an older one. It must import nothing of
kvserver.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import redis
import redis.asyncio

DOCUMENTS: list[Any] = [
    {"name": "Ada", "born": 1815, "tags": ["a", "é", "日本語"], "nested": {"none": None, "yes": True}},
    [1, 2.5, -0.0, 1e16, 10**30, [], {}],
    "text",
    "",
    7,
    1.5,
    True,
    None,
]
ODD_BYTES = bytes(range(256))


def json_name(document: Any) -> str:
    """The name that JSON.TYPE has for it."""
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    return names.get(type(document), "null")


def as_text(value: Any) -> str:
    """A name as one text: by version and protocol, redis-py gives it as text, as bytes, or in a list."""
    single = value[0] if isinstance(value, list) else value
    return single.decode() if isinstance(single, bytes) else single


def use_strings(client: Any) -> None:
    assert client.flushall()
    assert client.ping()
    assert client.set("name", "Ada")
    assert client.get("name") == b"Ada"
    assert client.get("missing") is None
    assert client.set(b"\xff\0key", ODD_BYTES)
    assert client.get(b"\xff\0key") == ODD_BYTES
    assert client.set("number", 17)
    assert int(client.get("number")) == 17
    assert client.exists("name", "number", "missing") == 2
    assert client.dbsize() == 3
    assert client.delete("name", "missing") == 1
    assert client.echo("hello") == b"hello"
    assert client.save()
    assert client.lastsave().year > 2000
    assert client.config_get("timeout") == {"timeout": "0"}
    assert client.info("server")["redis_version"].count(".") == 2
    assert client.client_setname("session")
    assert as_text(client.client_getname()) == "session"
    assert client.client_id() > 0
    assert any(entry["name"] == "session" for entry in client.client_list())
    assert client.command_count() > 20


def use_json(client: Any) -> None:
    for document in DOCUMENTS:
        assert client.json().set("document", "$", document) is True
        assert client.json().get("document") == document
        assert as_text(client.json().type("document")) == json_name(document)
        assert client.json().delete("document") == 1
        assert client.json().delete("document") == 0
        assert client.json().get("document") is None
    assert client.set("string", "not a document")
    assert client.json().get("string") == "not a document"


def use_pipelines(client: Any) -> None:
    pipeline = client.pipeline(transaction=False)
    for index in range(1000):
        pipeline.set(f"key:{index}", index)
    assert pipeline.execute() == [True] * 1000
    for index in range(1000):
        pipeline.get(f"key:{index}")
    assert pipeline.execute() == [b"%d" % index for index in range(1000)]
    pipeline.get("key:1").execute_command("NOSUCH").get("key:2")
    replies = pipeline.execute(raise_on_error=False)
    assert (replies[0], replies[2]) == (b"1", b"2")
    assert isinstance(replies[1], redis.ResponseError)
    assert "unknown command" in str(replies[1])


def use_numbers_and_many_keys(client: Any) -> None:
    assert client.flushall()
    assert client.incr("counter") == 1
    assert client.incrby("counter", 41) == 42
    assert client.decr("counter", 2) == 40
    assert client.incrbyfloat("float", 0.5) == 0.5
    assert client.mset({f"key:{index}": index for index in range(500)})
    assert client.mget("key:1", "missing", "key:499") == [b"1", None, b"499"]
    assert client.append("text", "Ada") == 3
    assert client.getrange("text", 1, 2) == b"da"
    assert client.strlen("text") == 3
    assert client.setbit("bits", 7, 1) == 0
    assert client.bitcount("bits") == 1
    assert sorted(client.scan_iter("key:*", count=50)) == sorted(b"key:%d" % index for index in range(500))
    assert len(client.keys("key:1?")) == 10
    assert client.expire("text", 100)
    assert 0 < client.pttl("text") <= 100_000
    assert client.persist("text")
    assert client.rename("text", "renamed")
    assert client.copy("renamed", "copied")
    assert client.unlink("renamed", "copied") == 2
    assert client.getdel("counter") == b"40"
    assert client.randomkey() is not None


def use_locks(client: Any) -> None:
    """Taking one is SET NX PX. Giving it back is a script, which lets nobody else give it back."""
    first, second = client.lock("lock", timeout=10), client.lock("lock", timeout=10)
    assert first.acquire(blocking=False)
    assert not second.acquire(blocking=False)
    assert first.locked()
    assert first.owned()
    assert 0 < client.pttl("lock") <= 10_000
    first.release()
    assert client.get("lock") is None
    assert second.acquire(blocking=False)
    assert second.locked()
    second.release()


def use_transactions(client: Any) -> None:
    client.delete("counter", "other")
    assert client.pipeline(transaction=True).set("counter", 1).incr("counter").get("counter").execute() == [True, 2, b"2"]
    failing = client.pipeline(transaction=True).set("counter", "text").incr("counter").set("other", 1)
    assert isinstance(failing.execute(raise_on_error=False)[1], redis.ResponseError)
    assert client.mget("counter", "other") == [b"text", b"1"]
    client.set("counter", 0)
    interferes = iter((True, True, False))

    def increase(pipeline: Any) -> None:
        value = int(pipeline.get("counter"))
        if next(interferes):
            client.incr("counter", 10)
        pipeline.multi()
        pipeline.set("counter", value + 1)

    assert client.transaction(increase, "counter") == [True]
    assert client.get("counter") == b"21"
    with client.pipeline() as pipeline:
        pipeline.watch("counter")
        client.set("counter", 1)
        pipeline.multi()
        pipeline.set("counter", 2)
        try:
            pipeline.execute()
        except redis.WatchError:
            pass
        else:
            raise AssertionError("a touched watch raised nothing")
    assert client.get("counter") == b"1"


def next_message(subscription: Any, kind: str) -> dict[str, Any]:
    """The next message, which is to be of this kind."""
    message = subscription.get_message(timeout=20)
    assert message is not None, f"no {kind}"
    assert message["type"] == kind, message
    found: dict[str, Any] = message
    return found


def use_messages(client: Any) -> None:
    with client.pubsub() as subscription:
        subscription.subscribe("channel", "other")
        assert [next_message(subscription, "subscribe")["data"] for _ in range(2)] == [1, 2]
        subscription.psubscribe("chan*")
        next_message(subscription, "psubscribe")
        assert client.publish("channel", ODD_BYTES) == 2
        assert next_message(subscription, "message")["data"] == ODD_BYTES
        assert next_message(subscription, "pmessage")["pattern"] == b"chan*"
        assert client.pubsub_numsub("channel", "none") == [(b"channel", 1), (b"none", 0)]
        assert client.pubsub_numpat() == 1
        assert sorted(client.pubsub_channels()) == [b"channel", b"other"]
        subscription.ping()
        next_message(subscription, "pong")
        subscription.unsubscribe("other")
        next_message(subscription, "unsubscribe")
        heard: list[bytes] = []
        subscription.subscribe(handled=lambda message: heard.append(message["data"]))
        next_message(subscription, "subscribe")
        pipeline = client.pipeline(transaction=True)
        for number in range(100):
            pipeline.publish("handled", number)
        assert pipeline.execute() == [1] * 100
        while len(heard) < 100:
            assert subscription.get_message(timeout=20) is None
        assert heard == [b"%d" % number for number in range(100)]
        subscription.ssubscribe("shard")
        next_message(subscription, "ssubscribe")
        assert client.spublish("shard", "x") == 1
        assert next_message(subscription, "smessage")["data"] == b"x"
    with client.monitor() as monitor:
        client.get("seen by a monitor")
        commands = (command["command"] for command in monitor.listen())
        assert any(command == "GET seen by a monitor" for command in commands)


def use_errors(client: Any) -> None:
    for wrong in (("NOSUCH",), ("GET",), ("CLIENT", "NOSUCH")):
        try:
            client.execute_command(*wrong)
        except redis.ResponseError:
            continue
        raise AssertionError(f"{wrong} raised nothing")
    assert client.ping()


def use_client_options(port: int, protocol: int) -> None:
    """Decoding, health checks before each command, a bounded pool, a name, one lasting connection."""
    with redis.Redis(
        port=port,
        protocol=protocol,
        decode_responses=True,
        health_check_interval=1,
        client_name="options",
        socket_timeout=20,
        single_connection_client=True,
    ) as client:
        assert client.set("name", "Ada é")
        assert client.get("name") == "Ada é"
        assert client.client_getname() == "options"
        assert client.json().set("document", "$", DOCUMENTS[0])
        assert client.json().get("document") == DOCUMENTS[0]
        assert client.connection is not None
        # The health check is long overdue, so the next command is behind a PING.
        client.connection.next_health_check = 1
        assert client.get("name") == "Ada é"
        info = client.client_info()
        assert info["name"] == "options"
        assert info["lib-name"].startswith("redis-py")
    bounded_pool: Any = redis.BlockingConnectionPool
    pool = bounded_pool(port=port, protocol=protocol, max_connections=2, timeout=20)
    clients = [redis.Redis(connection_pool=pool) for _ in range(6)]
    for index, client in enumerate(clients):
        assert client.set(f"pool:{index}", index)
    assert [client.get(f"pool:{index}") for index, client in enumerate(clients)] == [b"%d" % i for i in range(6)]
    pool.disconnect()


def sync_session(port: int, protocol: int) -> None:
    with redis.Redis(port=port, protocol=protocol, socket_timeout=20) as client:
        steps: list[Callable[[Any], None]] = [
            use_strings,
            use_json,
            use_pipelines,
            use_numbers_and_many_keys,
            use_locks,
            use_transactions,
            use_messages,
            use_errors,
        ]
        for step in steps:
            step(client)
    use_client_options(port, protocol)


async def next_message_later(subscription: Any, kind: str) -> dict[str, Any]:
    """The same for asyncio."""
    message = await subscription.get_message(timeout=20)
    assert message is not None, f"no {kind}"
    assert message["type"] == kind, message
    found: dict[str, Any] = message
    return found


async def use_transactions_and_messages_later(client: Any) -> None:
    assert await client.set("counter", 0)

    async def increase() -> None:
        async with client.pipeline(transaction=True) as pipeline:
            while True:
                try:
                    await pipeline.watch("counter")
                    value = int(await pipeline.get("counter"))
                    pipeline.multi()
                    pipeline.set("counter", value + 1)
                    await pipeline.execute()
                except redis.WatchError:
                    continue
                return

    await asyncio.gather(*(increase() for _ in range(10)))
    assert await client.get("counter") == b"10"
    async with client.pubsub() as subscription:
        await subscription.subscribe("channel")
        await next_message_later(subscription, "subscribe")
        await subscription.psubscribe("c*")
        await next_message_later(subscription, "psubscribe")
        assert await client.publish("channel", "x") == 2
        assert (await next_message_later(subscription, "message"))["data"] == b"x"
        assert (await next_message_later(subscription, "pmessage"))["channel"] == b"channel"
        await subscription.unsubscribe()
        await next_message_later(subscription, "unsubscribe")
        await subscription.punsubscribe()
        await next_message_later(subscription, "punsubscribe")


async def async_session(port: int, protocol: int) -> None:
    # The types of redis-py 5 and of the newest differ here, and only here, too much for one program.
    client: Any = redis.asyncio.Redis(port=port, protocol=protocol, socket_timeout=20)
    async with client:
        assert await client.flushall()
        assert await client.ping()
        assert await client.set("name", ODD_BYTES)
        assert await client.get("name") == ODD_BYTES
        assert await client.get("missing") is None
        for document in DOCUMENTS:
            assert await client.json().set("document", "$", document) is True
            assert await client.json().get("document") == document
            assert as_text(await client.json().type("document")) == json_name(document)
            assert await client.json().delete("document") == 1
        await asyncio.gather(*(client.set(f"key:{index}", index) for index in range(100)))
        values = await asyncio.gather(*(client.get(f"key:{index}") for index in range(100)))
        assert values == [b"%d" % index for index in range(100)]
        pipeline = client.pipeline(transaction=False)
        for index in range(100):
            pipeline.get(f"key:{index}")
        assert await pipeline.execute() == values
        assert await client.dbsize() == 101
        await use_transactions_and_messages_later(client)
        try:
            await client.execute_command("NOSUCH")
        except redis.ResponseError:
            pass
        else:
            raise AssertionError("an unknown command raised nothing")
    decoded: Any = redis.asyncio.Redis(port=port, protocol=protocol, decode_responses=True, health_check_interval=1)
    async with decoded:
        assert await decoded.set("name", "Ada é")
        assert await decoded.get("name") == "Ada é"


def main(port: int) -> None:
    for protocol in (2, 3):
        sync_session(port, protocol)
        asyncio.run(async_session(port, protocol), debug=True)
    print(redis.__version__)


if __name__ == "__main__":
    main(int(sys.argv[1]))
