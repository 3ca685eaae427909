"""A server that reads nothing of a request but its name, and answers with a fixed reply: the floor.

Owns its replies and its loop, which is kvserver's: uvloop with an asyncio protocol. Whatever a server does beyond this is its
own cost. Requests are counted by their first byte, which the generator puts nowhere else. Must never keep anything.
"""

import argparse
import asyncio
from typing import cast

import uvloop

REQUEST_MARK = b"*"
# The name's line stands behind the number of arguments and the length of the name.
NAME_LINE = 2


def replies_of(value_bytes: int) -> dict[bytes, bytes]:
    value = b"$%d\r\n%b\r\n" % (value_bytes, b"x" * value_bytes)
    return {b"PING": b"+PONG\r\n", b"SET": b"+OK\r\n", b"MSET": b"+OK\r\n", b"INCR": b":1\r\n", b"GET": value}


class EchoConnection(asyncio.Protocol):
    """A client, which gets as many replies as it sends requests."""

    def __init__(self, replies: dict[bytes, bytes]) -> None:
        self._replies = replies
        self._reply = b"-ERR\r\n"
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance can check this: uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        # One name is read for a whole batch: that has one command, or its replies are taken as those of its first command.
        if data.startswith(REQUEST_MARK):
            self._reply = self._replies.get(data.split(b"\r\n", NAME_LINE + 1)[NAME_LINE], b"-ERR\r\n")
        if self._transport is not None and (count := data.count(REQUEST_MARK)):
            self._transport.write(self._reply * count)


async def serve(port: int, value_bytes: int) -> None:
    replies = replies_of(value_bytes)
    server = await asyncio.get_running_loop().create_server(lambda: EchoConnection(replies), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.echo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--value-bytes", type=int, default=64, help="of what GET is answered with (default %(default)s)")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(options.port, options.value_bytes))


if __name__ == "__main__":
    main()
