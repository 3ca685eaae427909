"""Taking from the first of some keys that holds something, or waiting for it: what blocking pops have in common. Pure."""

from __future__ import annotations

from collections.abc import Callable

from kvserver.data.kinds import Kind, kind_of
from kvserver.dispatch.effect import Block, Effect
from kvserver.resp.reply import NULL_ARRAY, Reply
from kvserver.state.session import Session


def take_or_wait(
    session: Session,
    keys: list[bytes],
    timeout_ms: int,
    kind: Kind,
    take: Callable[[bytes], Reply],
    otherwise: Reply = NULL_ARRAY,
) -> Reply | Effect:
    """The first reply that `take` gives for one of the keys; it gives None for a key that is missing.

    Where there is none, wait for a value of this kind. CommandError for a value of another kind that is met at once: later
    ones are not looked at.
    """
    for key in keys:
        reply = take(key)
        if reply is not None:
            return reply

    def attempt(key: bytes) -> Reply:
        value = session.keyspace.live(key)
        return take(key) if value is not None and kind_of(value) is kind else None

    return Block(keys, timeout_ms, attempt, otherwise, kind.name)
