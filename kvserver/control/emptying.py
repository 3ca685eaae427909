"""A server made as good as new between two tests: no data, no scripts, the options of its start, the system's time.

Connections stay, but for those that would get something that was not meant for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Final

from kvserver.dispatch.effect import FreeShards, Reconfigure
from kvserver.engine.jobs import Jobs
from kvserver.engine.results import Results
from kvserver.engine.users import load_at_start
from kvserver.network.clients import Clients
from kvserver.options.table import OPTIONS
from kvserver.resp.reply import OK
from kvserver.state.session import Muted, ServerState, Session

# A script that has written can't be killed. Few tests have one that takes longer and comes to an end.
SCRIPT_S: Final = 2.0
# The session in whose name it happens. Clients' begin at 1.
_NOBODY = -2


async def empty(state: ServerState, results: Results, jobs: Jobs, clients: Clients, options: Mapping[str, object]) -> None:
    """Remove all keys, functions and scripts, and let the options have these values again. CommandError if that fails.

    A script that stands aside is ended before, or waited for if it has written: TimeoutError if it goes on for SCRIPT_S more.
    The caller ends faults and resets the clock.
    """
    if state.scripts.busy_error:
        # It can't be killed if it has written: then it is waited for.
        jobs.kill_script()
        await asyncio.wait_for(state.scripts.wait(), SCRIPT_S)
    results.pauses.end()
    clients.reset(_is_in_the_middle)
    nobody = Session(state, _NOBODY, "", "", True)
    changed = [option.name for option in OPTIONS if getattr(state.config, option.attribute) != options[option.attribute]]
    vars(state.config).update(options)
    if changed:
        done = jobs.act(Reconfigure(changed, OK), nobody)
        if isinstance(done, Awaitable):
            await done
    # Who has logged in as another user, or by a password, would be somebody else.
    clients.reset(lambda session: session.user is not state.users.default)
    load_at_start(state)
    state.note_rights(state.users.default)
    state.denials.reset()
    state.scripts.functions.flush()
    state.scripts.flush()
    jobs.act(FreeShards("emptying", 0, state.databases.clear(), flushes=False), nobody)
    state.expires_actively = True
    state.slowlog.reset()
    state.latency.reset([])
    state.reset_statistics()


def _is_in_the_middle(session: Session) -> bool:
    """True for a client that listens or waits, or whose next command would mean something else than that of a new one."""
    return (
        session.is_subscriber
        or session.is_blocked
        or session.id in session.server.monitors
        or session.transaction is not None
        or session.watch is not None
        or session.muted is not Muted.NONE
    )
