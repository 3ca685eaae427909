"""A connection to a source: bytes in, bytes out, and how long either may take. It knows nothing of what they mean."""

from __future__ import annotations

import asyncio
import ssl
from typing import Self

from kvserver.errors import LinkLost
from kvserver.following.handshake import LONGEST_LINE_BYTES

# A read gives so many bytes at most. The connection holds twice as many, and then the source has to wait.
READ_BYTES = 1 << 16


class Link:
    """A connection that was made by `open`. LinkLost wherever it ends, or nothing comes for `timeout_s` seconds."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout_s: float) -> None:
        self._reader = reader
        self._writer = writer
        self._timeout_s = timeout_s

    @classmethod
    async def open(cls, host: str, port: int, timeout_s: float, context: ssl.SSLContext | None) -> Self:
        """Connect, by TLS if there is a context. LinkLost."""
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=READ_BYTES)
        except TimeoutError:
            raise LinkLost("Timeout connecting to the MASTER...") from None
        except (OSError, ValueError) as error:
            raise LinkLost(f"Error condition on socket for SYNC: {getattr(error, 'strerror', None) or error}") from None
        return cls(reader, writer, timeout_s)

    @property
    def host(self) -> str:
        """The address of this side, as far as it is known."""
        name = self._writer.get_extra_info("sockname")
        return str(name[0]) if name else ""

    def send(self, data: bytes) -> None:
        """Send bytes, some words at a time: the source need not read them at once."""
        self._writer.write(data)

    async def line(self) -> bytes:
        """The next line, without its end."""
        try:
            async with asyncio.timeout(self._timeout_s):
                line = await self._reader.readline()
        except TimeoutError:
            raise LinkLost("Timeout in the handshake with MASTER") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or f"a line of more than {LONGEST_LINE_BYTES} bytes"
            raise LinkLost(f"Error condition on socket for SYNC: {reason}") from None
        if not line.endswith(b"\n"):
            raise LinkLost("Connection with master lost.")
        return line.rstrip(b"\r\n")

    async def read(self, most_bytes: int = READ_BYTES) -> bytes:
        """The next bytes."""
        try:
            async with asyncio.timeout(self._timeout_s):
                data = await self._reader.read(most_bytes)
        except TimeoutError:
            raise LinkLost("MASTER timeout: no data nor PING received...") from None
        except OSError as error:
            raise LinkLost(f"Connection with master lost: {error.strerror or error}") from None
        if not data:
            raise LinkLost("Connection with master lost.")
        return data

    def close(self) -> None:
        """Close it at once."""
        self._writer.transport.abort()
