"""The supervisor that has started the server, such as systemd: it is told of the server's state by sd_notify's protocol.

If NOTIFY_SOCKET is empty, there is no supervisor. A message that can't be sent is lost, and the first failure is logged.
"""

from __future__ import annotations

import logging
import os
import socket

# A message waits so long for a supervisor that has not taken the messages before it.
TIMEOUT_S = 0.1
# The supervisor takes a load for dead that tells of no progress for so long.
LOAD_STEP_US = 300_000_000

_log = logging.getLogger("kvserver")


class Supervisor:
    """The receiver of messages at `address`, the value of NOTIFY_SOCKET.

    The address is a path, or the name of an abstract socket behind an `@`, or empty for no receiver.
    """

    def __init__(self, address: str) -> None:
        # Bytes, since a path need not be UTF-8.
        self._address = os.fsencode("\0" + address[1:] if address.startswith("@") else address)
        self._has_failed = False
        self._has_told_leaving = False

    def tell(self, *assignments: str) -> None:
        """Send assignments such as READY=1 and STATUS=loading, as one message."""
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
        """Tell how much of the data is loaded."""
        self.tell(f"STATUS=loading: {percent} %", f"EXTEND_TIMEOUT_USEC={LOAD_STEP_US}")

    def tell_ready(self, status: str) -> None:
        """Tell that the server serves, with a status for people."""
        self._has_told_leaving = False
        self.tell("READY=1", f"STATUS={status}")

    def tell_leaving(self) -> None:
        """Tell that the server is shutting down, unless that was told: a signal tells it before the flush."""
        if self._has_told_leaving:
            return
        self._has_told_leaving = True
        self.tell("STOPPING=1", "STATUS=shutting down")
