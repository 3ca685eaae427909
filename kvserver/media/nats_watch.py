"""The watch over a connection to NATS: it tells a server that is dead, or halted, from a line that is slow.

The server is asked for a word by PING, again and again. On a slow line PING and PONG stand behind all that was sent before,
for many seconds. So whatever comes from the server is a sign of life, and so is that what stands before the PING gets less. A
word that has come tells also how far the line is behind: what the server had said before has come, too.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from kvserver.media.nats_library import heard, unsent

if TYPE_CHECKING:
    from nats.aio.client import Client

# The server has so much time for a sign of life. A halted one is told from a slow one by that alone.
SILENCE_S: Final = 1.5
# Signs of life are looked for so often.
LOOK_S: Final = 0.1


class Watch:
    """The watch over one connection after the other, by the event loop that they are of.

    `answered_at` is the time (`time.monotonic`) at which the last PING was sent that has been answered. An answer to what was
    sent long before that is not on its way any more.
    """

    def __init__(self) -> None:
        self.answered_at = float("-inf")

    async def is_alive(self, client: Client) -> bool:
        """Ask for a word. True: it has come, or the connection was lost meanwhile.

        False: there is no sign of life, or the library does not listen any more.
        """
        # The transport may end right now.
        with suppress(OSError, RuntimeError):
            return await self._has_answered(client) and client._reading_task is not None and not client._reading_task.done()
        return False

    async def _has_answered(self, client: Client) -> bool:
        sent_at = lived_at = time.monotonic()
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        await client._send_ping(pong)
        # So much stands before the PING; what comes behind it is no sign.
        before = waits = unsent(client)
        received = heard(client)
        while not pong.done() and client.is_connected and pong in client._pongs:
            await asyncio.wait([pong], timeout=LOOK_S)
            now, left = time.monotonic(), unsent(client)
            if heard(client) > received or (before > 0 and left < waits):
                lived_at = now
            elif now - lived_at > SILENCE_S:
                return False
            before -= max(waits - left, 0)
            received, waits = heard(client), left
        if pong.done():
            self.answered_at = sent_at
        return True
