"""The client of nats-py, and what is done with it that it has no call for.

It is imported when the first connection is made.
"""

from __future__ import annotations

import asyncio
import fcntl
import re
import ssl
import struct
import termios
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from kvserver.errors import ExtraMissing, MediumError

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

_VIOLATION: Final = re.compile(r'permissions violation for (?:publish|subscription) to "([^"]+)"')
NO_TLS: Final = "the server does not ask for TLS, and tls:// sends no login without: nats:// does without TLS"


def new_client(*, must_be_tls: bool) -> Client:
    """A client that is not connected yet. ExtraMissing.

    `must_be_tls`: it sends nothing to a server that does not ask for TLS, at its first connection and at all later ones.
    """
    try:
        from nats.aio.client import Client
        from nats.protocol.parser import Parser
    except ImportError:
        raise ExtraMissing("a medium nats:// needs nats-py: pip install 'kvserver[nats]'") from None

    class Listening(Parser):
        heard = 0

        def parse(self, data: bytes = b"") -> Coroutine[Any, Any, None]:
            self.heard += len(data)
            return super().parse(data)

    class Careful(Client):
        def __init__(self) -> None:
            super().__init__()
            self._ps = Listening(self)

        async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
            # The library takes tls:// for a wish: to a server that asks for no TLS it would send the password as it is.
            if initial_connection and must_be_tls and not info.get("tls_required"):
                raise ssl.SSLError(1, NO_TLS)
            await super()._process_info(info, initial_connection)

    return Careful()


def tls_context(ca: str) -> ssl.SSLContext:
    """The TLS of a client that trusts the authorities in this file, or those of the system. MediumError if it has none."""
    try:
        return ssl.create_default_context(cafile=ca or None)
    except OSError as error:
        raise MediumError(f"the certificates of authorities, {ca}, can't be read: {error.strerror or error}") from None


def sink(take: Callable[[Msg], object]) -> asyncio.Future[Msg]:
    """What a subscription sets a message in, as the library's old way of requests does, but again and again.

    For a coroutine the library keeps each message in a queue, to be taken by a task: that takes CPU, and has limits.
    """

    class Sink(asyncio.Future["Msg"]):
        def set_result(self, result: Msg) -> None:
            take(result)

    return Sink()


def write(client: Client, message: bytes) -> None:
    """Write to the connection at once.

    `Client.publish` has a task of its own do that, and takes a quarter more CPU for a whole append. Nothing waits here for a
    server that is slow: those who call do, for their answers.
    """
    assert client._transport is not None
    client._transport.write(message)


def subject_denied(error: Exception) -> str:
    """The subject that a user may not use, as a server says by this error; "" if it says no such thing.

    It is in lower case: so the library gives it.
    """
    found = _VIOLATION.search(str(error))
    return found[1] if found else ""


def heard(client: Client) -> int:
    """The bytes that have come from the servers so far."""
    return getattr(client._ps, "heard", 0)


def unsent(client: Client) -> int:
    """The bytes that nobody has taken yet: those that wait in this process, and in its system where that tells."""
    # With TLS, too, this is the transport that writes to the socket.
    writer = getattr(client._transport, "_bare_io_writer", None)
    if writer is None:
        return 0
    size: int = writer.transport.get_write_buffer_size()
    # ValueError: the socket is closed.
    with suppress(OSError, ValueError):
        answer = fcntl.ioctl(writer.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        size += struct.unpack("i", answer)[0]
    return size


def abort(client: Client) -> None:
    """Drop a connection without waiting for what is still to be sent: a halted server would never take it.

    The library has no call for that.
    """
    writer = getattr(client._transport, "_io_writer", None)
    if writer is not None:
        writer.transport.abort()
