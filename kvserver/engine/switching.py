"""+switch-master: the message of Redis's Sentinel by which its clients learn that another node leads."""

from __future__ import annotations

from collections.abc import Callable

from kvserver.state.channels import Message
from kvserver.state.replication import Primary
from kvserver.state.session import ServerState, Session

CHANNEL = b"+switch-master"


def tell_of_switches(state: ServerState, deliver: Callable[[list[tuple[Session, Message]]], None]) -> None:
    """Have subscribers of this node told of each switch. `deliver` sends messages that no command leads to."""
    facts = state.replication

    def tell(old: Primary | None, new: Primary) -> None:
        # Who learns of the first primary has not switched from anywhere.
        if old and (old.host, old.port) != (new.host, new.port):
            text = f"{facts.engine.name} {old.host} {old.port} {new.host} {new.port}"
            deliveries = state.channels.deliveries(CHANNEL, text.encode("utf-8", "surrogateescape"))
            if deliveries:
                deliver(deliveries)

    facts.on_switch = tell
