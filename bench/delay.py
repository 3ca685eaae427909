"""A proxy that holds each byte for some milliseconds, on either way: what is beyond it seems as far away as another site.

Owns the delay. It keeps the order of bytes and loses none, and any number of bytes are on their way at once. Must never look
into them.
"""

import argparse
import asyncio
from typing import cast

import uvloop


class _End(asyncio.Protocol):
    """One of the two ends of a connection: what comes from there goes to the other one, later."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._loop = asyncio.get_running_loop()
        # What came before the other end was there.
        self._early: list[bytes] = []
        self.other: _End | None = None
        self.transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance can check this: uvloop's transports do not derive from asyncio's.
        self.transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._loop.call_later(self._delay_s, self._hand_over, data)

    def connection_lost(self, error: Exception | None) -> None:
        self._loop.call_later(self._delay_s, self._close_other)

    def pair_with(self, other: "_End") -> None:
        self.other = other
        for data in self._early:
            self._hand_over(data)
        self._early.clear()

    def _hand_over(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self._early.append(data)
        elif not self.other.transport.is_closing():
            self.other.transport.write(data)

    def _close_other(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


async def serve(port: int, target: int, delay_s: float) -> None:
    loop = asyncio.get_running_loop()
    opening: set[asyncio.Task[None]] = set()

    async def connect(near: _End) -> None:
        try:
            _, far = await loop.create_connection(lambda: _End(delay_s), "127.0.0.1", target)
        except OSError:
            if near.transport is not None:
                near.transport.close()
            return
        far.pair_with(near)
        near.pair_with(far)

    def accept() -> _End:
        near = _End(delay_s)
        task = loop.create_task(connect(near))
        opening.add(task)
        task.add_done_callback(opening.discard)
        return near

    server = await loop.create_server(accept, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.delay", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--target", type=int, required=True)
    parser.add_argument("--delay-ms", type=float, required=True)
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.target, options.delay_ms / 1000))


if __name__ == "__main__":
    main()
