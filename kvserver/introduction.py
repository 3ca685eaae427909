"""The lines of the log with which a server begins: what it is, where it listens, what it keeps, and what one should know.

Only what is known already is told: nothing is looked up or changed here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

from kvserver.network.listeners import is_taken
from kvserver.options.config import Config
from kvserver.options.durability import durability
from kvserver.options.table import IN_MEMORY
from kvserver.state.session import ServerState

_log = logging.getLogger("kvserver")


def introduce(state: ServerState, addresses: Iterable[str]) -> None:
    """Log the version and the process, the place of the data and how safe it is, the addresses, and what was ignored.

    This comes after the listening: a start that fails logs one line, the reason.
    """
    config, facts = state.config, state.process_facts()
    _log.info(
        "kvserver %s (%s, leaves %s, Python %s, %s), process %d",
        state.version, facts.build, facts.leaves, facts.python, facts.event_loop, facts.process_id,
    )  # fmt: skip
    engine = state.replication.engine
    if engine.url:
        _log.info("data on %s, a lease of %g s", engine.url, engine.lease_ms / 1000)
        _log.info("durability: %s (%s)", durability(config), config.describe("appendfsync"))
        for promise in engine.promises:
            _log.info("the engine: %s", promise)
        for warning in engine.warnings:
            _log.warning("the engine: %s", warning)
    elif config.dir == IN_MEMORY:
        _log.info("data in memory: nothing is kept")
    else:
        options = ", ".join(config.describe(name) for name in ("appendonly", "appendfsync"))
        _log.info("data in %s", os.path.join(config.dir, config.dbfilename))
        _log.info("durability: %s (%s, save %s)", durability(config), options, config.describe("save")[5:] or '""')
    _log.info("listening on %s", ", ".join(addresses))
    for notice in config.notices:
        _log.warning("%s", notice)
    if config.ignored:
        _log.warning("ignored in the environment, since they are no options: %s", config.ignored)


def warn_of_network(state: ServerState, left_out: Iterable[str], exposed: str) -> None:
    """Warn of addresses that were left out, and of one (`exposed`, or empty) that others may reach without a password."""
    for text in left_out:
        _log.warning("%s; going on without it", text)
    if not (exposed and state.users.default.needs_no_password):
        return
    if state.config.protected_mode:
        text = "clients of other machines are turned away, since protected-mode is on and requirepass is empty"
    else:
        text = "whoever gets there has all data, since protected-mode is off and requirepass is empty"
    _log.warning("%s is on a network: %s", exposed, text)


def another_port(error: Exception, config: Config, *, in_words_of_the_shell: bool) -> str:
    """The way to another port, behind a semicolon, if a start fails since one of its ports is taken; else an empty text."""
    if isinstance(error, OSError) and is_taken(error):
        for option, port in (("-p", config.port), ("--tls-port", config.tls_port), ("--http-port", config.http_port)):
            if f":{port}: " in str(error):
                if in_words_of_the_shell:
                    return f"; {option} takes another port, {option} auto any that is free"
                keyword = "port" if option == "-p" else option[2:].replace("-", "_")
                return f'; {keyword}="auto" takes any that is free'
    return ""
