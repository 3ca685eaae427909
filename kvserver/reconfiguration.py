"""New settings of a running server: CONFIG SET is carried out by the parts that they concern, or not at all.

Knows which part an option is for; what it means is for that part to know.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from kvserver.dispatch.table import CommandTable
from kvserver.dispatch.timing import slow_from_ns
from kvserver.errors import CommandError, TLSError
from kvserver.log import set_level
from kvserver.network.clients import Clients
from kvserver.network.listeners import Listeners
from kvserver.options.config import config_set_failed
from kvserver.state.session import ServerState

# The options that name what is listened on, with Redis's error texts.
LISTENING = {
    "bind": "Failed to bind to specified addresses.",
    "port": "Unable to listen on this port. Check server logs.",
    "tls-port": "Unable to listen on this port. Check server logs.",
}
TLS_NOT_UPDATED = "Unable to update TLS configuration. Check server logs."

_log = logging.getLogger("kvserver")


class Reconfiguration:
    """The way of new settings to the parts of a server. `warn` is called when it listens elsewhere."""

    def __init__(
        self, state: ServerState, table: CommandTable, clients: Clients, listeners: Listeners, warn: Callable[[], None]
    ) -> None:
        self._state = state
        self._table = table
        self._clients = clients
        self._listeners = listeners
        self._warn = warn
        self._follows_log_level = False
        # The port for those who watch the server follows `bind`. The server sets it.
        self.rebind_http: Callable[[], None] = lambda: None
        # Scripts are told of their limit of memory.
        self.limit_scripts: Callable[[], None] = lambda: None
        # The values in force, which come back after a CONFIG SET that can't be carried out.
        self._settled: dict[str, object] = {}
        self._watch()

    def settle(self) -> None:
        """Take the present values for those in force."""
        self._settled = dict(vars(self._state.config))

    def follow_log_level(self) -> None:
        """Let `loglevel` say from now on what the whole process logs under the name kvserver."""
        self._follows_log_level = True

    def act(self, names: list[str]) -> None:
        """Act on the new values of these options; or put the old values back, and raise CommandError."""
        config = self._state.config
        listening = [name for name in names if name in LISTENING]
        try:
            self._clients.reconfigure(names)
            if any(name.startswith("tls-") for name in names):
                self._listeners.reload_tls()
            if listening:
                self._listeners.rebind()
                if "bind" in names:
                    self._rebind_http()
                _log.info("listening on %s", ", ".join(self._listeners.urls()) or "nothing")
                self._warn()
        except (CommandError, OSError, TLSError) as error:
            vars(config).update(self._settled)
            if isinstance(error, CommandError):
                raise
            _log.warning("the configuration stays as it was: %s", error)
            self._clients.reconfigure(names)
            self._listeners.reload_tls()
            if isinstance(error, TLSError):
                name = next(name for name in names if name.startswith("tls-"))
                raise CommandError(str(config_set_failed(name, TLS_NOT_UPDATED))) from None
            raise CommandError(str(config_set_failed(listening[0], LISTENING[listening[0]]))) from None
        self.settle()
        self._watch()
        if "requirepass" in names:
            default = self._state.users.default
            default.set_password(config.requirepass)
            self._state.note_rights(default)
            self._clients.apply_limits()
        for name in names:
            _log.info("CONFIG SET %s", config.describe(name))
        if "lua-memory-limit" in names:
            self.limit_scripts()
        if "loglevel" in names and self._follows_log_level:
            set_level(config.loglevel)

    def _rebind_http(self) -> None:
        """Have the HTTP port follow `bind`; if it can't, let the others go back and raise the error."""
        try:
            self.rebind_http()
        except OSError:
            vars(self._state.config).update(self._settled)
            self._listeners.rebind()
            raise

    def _watch(self) -> None:
        """Pass the options about slow commands, and about events, to the parts that watch for them."""
        state = self._state
        self._table.timing.watch_from(slow_from_ns(state.config))
        state.slowlog.keep(state.config.slowlog_max_len)
        state.notifications.configure(state.config.notify_keyspace_events)
