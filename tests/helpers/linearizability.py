"""A checker of histories: could one register, taking one call at a time, have given these replies?

The search is Wing and Gong's with Lowe's memo: of all calls that may come next, one is tried after the other, and no state is
entered twice with the same calls done. Keys are independent of each other, so that each has a history of its own.

A call whose outcome is unknown is open to the end: it may have had its effect at any time behind its start, or never.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

# When a call returned whose outcome nobody knows.
NEVER: Final = math.inf
# A history of some thousand calls takes about as many steps. One that takes so many is no history of a test.
MOST_STEPS: Final = 2_000_000


class Call(NamedTuple):
    """One call of a client on a key.

    - `command` is SET, GET or INCR; `argument` is what SET writes, a value that no other call of the history writes.
    - `reply` is what GET was told, None if there is no such key, or what INCR was told, in decimal digits. SET has none.
    - `invoked` and `returned` are times on one clock; `returned` is NEVER if the outcome is unknown.
    """

    client: int
    command: str
    argument: bytes | None
    reply: bytes | None
    invoked: float
    returned: float

    @property
    def is_known(self) -> bool:
        return self.returned != NEVER

    def __str__(self) -> str:
        words = " ".join(part for part in (self.command, (self.argument or b"").decode()) if part)
        outcome = f"{self.reply!r} at {self.returned:.6f}" if self.is_known else "unknown"
        return f"client {self.client} at {self.invoked:.6f}: {words} -> {outcome}"


class _Node:
    """A place in the list of starts and ends that are not done yet. `end` is that of a start; an end has none itself."""

    def __init__(self, index: int, call: Call | None) -> None:
        self.index = index
        # None: the end of a call, or the head of the list.
        self.call = call
        self.end: _Node | None = None
        self.before: _Node
        self.behind: _Node | None = None

    def take_out(self) -> None:
        self.before.behind = self.behind
        if self.behind:
            self.behind.before = self.before

    def put_back(self) -> None:
        self.before.behind = self
        if self.behind:
            self.behind.before = self


def find_violation(calls: Iterable[Call], initial: bytes | None = None) -> str | None:
    """Text that says where the history of one key goes wrong, or None if it is linearizable.

    ValueError for a value that is written twice. RuntimeError if the search takes more than MOST_STEPS.
    """
    history = _prepared(calls)
    left = sum(call.is_known for call in history)
    head = _linked(history)
    # Calls of unknown outcome that are alike: the one that began first may stand for each of them.
    alike = [index for index, call in enumerate(history) if call.command == "INCR" and not call.is_known]
    earlier = dict(zip(alike[1:], alike, strict=False))
    state, done = initial, 0
    path: list[tuple[_Node, bytes | None]] = []
    seen = {(done, state)}
    deepest, stuck = -1, ""
    steps = 0
    node = head.behind
    while left:
        steps += 1
        if steps > MOST_STEPS:
            raise RuntimeError(f"no answer after {MOST_STEPS} steps over {len(history)} calls")
        if node and (call := node.call):
            is_possible, after = _apply(state, call)
            with_it = done | 1 << node.index
            may_come = node.index not in earlier or done >> earlier[node.index] & 1
            if is_possible and may_come and (with_it, after) not in seen:
                seen.add((with_it, after))
                path.append((node, state))
                state, done = after, with_it
                left -= call.is_known
                node.take_out()
                if node.end:
                    node.end.take_out()
                node = head.behind
            else:
                node = node.behind
            continue
        # A call ends here that has to come before, and none of those that may come leads on: the last one was wrong.
        if len(path) > deepest:
            deepest, stuck = len(path), _describe(history, path, state, node)
        if not path:
            return stuck
        last, state = path.pop()
        assert last.call
        if last.end:
            last.end.put_back()
        last.put_back()
        done &= ~(1 << last.index)
        left += last.call.is_known
        node = last.behind
    return None


def find_violations(histories: Mapping[str, Sequence[Call]]) -> dict[str, str]:
    """What is wrong with the histories of several keys, by key."""
    found = {key: find_violation(calls) for key, calls in histories.items()}
    return {key: text for key, text in found.items() if text is not None}


def _prepared(calls: Iterable[Call]) -> list[Call]:
    """The calls by their starts, without those of unknown outcome that nothing can be known of.

    In a register without INCR each value has one writer: a SET of unknown outcome whose value somebody read had its effect
    before that read returned, and one whose value nobody read may be left out.
    """
    history = sorted((call for call in calls if call.is_known or call.command != "GET"), key=lambda call: call.invoked)
    written = [call.argument for call in history if call.command == "SET"]
    if len(set(written)) < len(written):
        raise ValueError("a value is written twice, so that nobody can tell who wrote what was read")
    if any(call.command == "INCR" for call in history):
        return history
    read_at: dict[bytes | None, float] = {}
    for call in history:
        if call.command == "GET":
            read_at[call.reply] = min(read_at.get(call.reply, NEVER), call.returned)
    bounded = (call if call.is_known else call._replace(returned=read_at.get(call.argument, NEVER)) for call in history)
    return [call for call in bounded if call.is_known]


def _linked(history: Sequence[Call]) -> _Node:
    """The head of the list of starts and ends by time; at the same time starts come first, which makes calls concurrent."""
    events: list[tuple[float, int, _Node]] = []
    for index, call in enumerate(history):
        start = _Node(index, call)
        events.append((call.invoked, 0, start))
        if call.is_known:
            start.end = _Node(index, None)
            # A read that returned before the value was written is wrong, and the list still has starts before ends.
            events.append((max(call.returned, call.invoked), 1, start.end))
    events.sort(key=lambda event: event[:2])
    head = last = _Node(-1, None)
    for _, _, node in events:
        last.behind, node.before = node, last
        last = node
    return head


def _apply(state: bytes | None, call: Call) -> tuple[bool, bytes | None]:
    """Try a call: True if it gives its reply in this state, and the state behind it."""
    if call.command == "SET":
        return True, call.argument
    if call.command == "GET":
        return state == call.reply, state
    assert call.command == "INCR", call.command
    after = b"%d" % (int(state or b"0") + 1)
    return not call.is_known or after == call.reply, after


def _describe(history: Sequence[Call], path: list[tuple[_Node, bytes | None]], state: bytes | None, end: _Node | None) -> str:
    """The place at which the search got furthest."""
    lines = [f"no order of the {len(history)} calls gives these replies. At most {len(path)} of them can be put in order:"]
    lines += [f"  {history[node.index]}" for node, _ in path[-5:]]
    lines.append(f"which leaves {state!r}, and then this has to have had its effect before it returned:")
    lines.append(f"  {history[end.index]}" if end else "  (nothing)")
    return "\n".join(lines)
