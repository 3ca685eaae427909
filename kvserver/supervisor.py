"""What started the server and watches over it, systemd for one: told by the protocol of sd_notify what the server does.

Where NOTIFY_SOCKET names no socket, nobody is told anything. That nobody listens is logged once and hurts nothing else.
"""

from __future__ import annotations

import logging
import os
import socket

TIMEOUT_S = 0.1  # for one who has not taken what it was told before
LOAD_STEP_US = 300_000_000  # within which a load tells of its progress: until then it is not taken for dead

_log = logging.getLogger("kvserver")


class Supervisor:
    """`address` is the value of NOTIFY_SOCKET: a path, or the name of an abstract socket behind an `@`; or empty."""

    def __init__(self, address: str) -> None:
        # As bytes, since a path need not be UTF-8.
        self._address = os.fsencode("\0" + address[1:] if address.startswith("@") else address)
        self._has_failed = False

    def tell(self, *assignments: str) -> None:
        """Send such as READY=1 and STATUS=loading in one message."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messenger:
                messenger.settimeout(TIMEOUT_S)
                messenger.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                _log.warning(
                    "nobody can be told at NOTIFY_SOCKET %r: %s", self._address, getattr(error, "strerror", "") or error
                )

    def tell_of_load(self, percent: int) -> None:
        self.tell(f"STATUS=loading: {percent} %", f"EXTEND_TIMEOUT_USEC={LOAD_STEP_US}")

    def tell_ready(self, status: str) -> None:
        self.tell("READY=1", f"STATUS={status}")

    def tell_leaving(self) -> None:
        self.tell("STOPPING=1", "STATUS=shutting down")
