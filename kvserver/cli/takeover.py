"""`kvserver import redis://SOURCE redis://TARGET`: a kvserver takes over a running redis-server, which is only read.

The target follows the source as a replica does. When it has nearly all, writes to the source are paused, the target is waited
for until it has all, and from then on it takes the writes. Where that fails, the pause is ended, and the target goes on
following.
"""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

import hiredis

from kvserver.errors import NeverFollows, TransferError
from kvserver.transfer.connection import Connection, Login, login_of
from kvserver.transfer.running_source import look_at_source

# A target that is not farther behind has all within some milliseconds. One that is behind by less than what the source writes
# between two looks has all within that time.
SMALL_LAG_BYTES: Final = 64 * 1024
LOOK_S: Final = 0.2
# During the pause.
SHORT_LOOK_S: Final = 0.001
# A first link is made by then.
CONNECT_S: Final = 30.0
_ASIDE: Final = "the target goes on following: REPLICAOF NO ONE there ends that"


class Orders(NamedTuple):
    """What is ordered on the command line.

    `switches`: as soon as the target is near. `pauses`: writes to the source wait meanwhile, for `pause_s` at most.
    `replaces`: what the target has may be replaced.
    """

    switches: bool
    pauses: bool
    pause_s: float
    replaces: bool


class Terminal:
    """Who has given the orders: told how far it is, and asked when to switch."""

    def __init__(self) -> None:
        self._is_shown = False

    def say(self, line: str) -> None:
        """Tell a line that stays."""
        self._clear()
        print(line, flush=True)

    def show(self, line: str) -> None:
        """Show how far it is, on a terminal."""
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K{line}")
            sys.stderr.flush()
            self._is_shown = True

    def _clear(self) -> None:
        if self._is_shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
            self._is_shown = False

    def has_entered(self, seconds: float) -> bool:
        """Wait so long. True as soon as somebody presses Enter on a terminal."""
        if not sys.stdin.isatty():
            time.sleep(seconds)
            return False
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        return bool(ready) and bool(sys.stdin.readline())

    def is_sure(self) -> bool:
        """Ask, behind a SIGINT, if the target is to take over now."""
        self._clear()
        if not sys.stdin.isatty():
            return False
        try:
            return input("Switch to the target now? [y/N] ").strip().lower() in ("y", "yes")
        except EOFError:
            return False


def take_over(source_url: str, target_url: str, orders: Orders, terminal: Terminal) -> None:
    """Have the target take over the source. TransferError, in a line, where that fails or is given up."""
    login = login_of(source_url)
    with Connection(source_url) as source, Connection(target_url) as target:
        _check(source, target)
        with _logged_in(target, login):
            before = target.info("replication")
            begins = not _follows(before, login) or bool(before.get("master_link_error"))
            if begins:
                _check_replaced(target, orders)
                target.call(b"REPLICAOF", login.host.encode(), b"%d" % login.port)
            terminal.say(f"{target.url} follows {source.url}, which is only read")
            try:
                _watch(source, target, orders, terminal)
            except NeverFollows:
                # Otherwise it would go on trying, and replace its data at some later time.
                if begins:
                    _go_back(target, before)
                raise
            except KeyboardInterrupt:
                if not terminal.is_sure():
                    raise TransferError(f"not switched: {_ASIDE}") from None
            _switch(source, target, orders, terminal)


def _check(source: Connection, target: Connection) -> None:
    look_at_source(source)
    if source.info("cluster").get("cluster_enabled") == "1":
        raise TransferError(f"{source.url} is a node of a cluster, which has a part of the keys alone: it can't be taken over")
    replication = source.info("replication")
    if replication.get("role") == "slave":
        primary = f"{replication.get('master_host')}:{replication.get('master_port')}"
        raise TransferError(f"{source.url} is a replica: take over its primary, {primary}, which takes the writes")
    if "kvserver_version" not in target.info("server"):
        raise TransferError(f"{target.url} is no kvserver")
    if "medium_url" in target.info("medium"):
        raise TransferError(f"{target.url} follows the log of an engine: start one with a folder of its own, and copy that")


def _follows(fields: dict[str, str], login: Login) -> bool:
    """True if a target whose INFO has these fields follows the source at this address."""
    return (fields.get("master_host"), fields.get("master_port")) == (login.host, str(login.port))


def _go_back(target: Connection, fields: dict[str, str]) -> None:
    """Let the target follow whom it followed when INFO had these fields, or nobody."""
    host, port = fields.get("master_host", "NO"), fields.get("master_port", "ONE")
    target.call(b"REPLICAOF", host.encode(), port.encode())


def _check_replaced(target: Connection, orders: Orders) -> None:
    if not orders.replaces and target.info("keyspace"):
        raise TransferError(f"{target.url} has keys, and all of them would be replaced: --replace does that")


@contextmanager
def _logged_in(target: Connection, login: Login) -> Iterator[None]:
    """Let the target log in at the source as the URL says. Behind the block its options are as they were."""
    wanted = {"tls-replication": "yes"} if login.is_secure else {}
    if login.password:
        wanted |= {"masteruser": login.user, "masterauth": login.password}
    before: dict[str, bytes] = {}
    for name in wanted:
        before[name] = target.call(b"CONFIG", b"GET", name.encode())[1]
    if wanted:
        _set(target, {name: value.encode() for name, value in wanted.items()})
    try:
        yield
    finally:
        # One that goes on following has to log in again.
        if wanted and not _follows(target.info("replication"), login):
            _set(target, before)


def _set(target: Connection, values: dict[str, bytes]) -> None:
    target.call(b"CONFIG", b"SET", *(word for name, value in values.items() for word in (name.encode(), value)))


# Following


def _watch(source: Connection, target: Connection, orders: Orders, terminal: Terminal) -> None:
    """Show how far it is, until it is time to switch."""
    has_told = False
    ends_at_s = time.monotonic() + CONNECT_S
    # That of the source at the last look.
    offset: int | None = None
    while True:
        fields = target.info("replication")
        if fields.get("role") != "slave":
            raise TransferError(f"somebody else has told {target.url} to follow nobody")
        if fields["master_link_status"] == "up":
            now = _offset(source)
            written, offset = 0 if offset is None else now - offset, now
            lag = max(offset - int(fields["slave_repl_offset"]), 0)
            if not has_told:
                has_told = True
                hint = "" if orders.switches else "; Enter switches to the target" if sys.stdin.isatty() else ""
                terminal.say(f"all data is there, and what is written follows{hint}")
            terminal.show(f"{lag} bytes behind")
            if orders.switches and lag <= max(SMALL_LAG_BYTES, written):
                return
        else:
            _show_sync(fields, terminal)
            if fields["master_sync_in_progress"] == "1" or has_told:
                ends_at_s = time.monotonic() + CONNECT_S
            if error := fields.get("master_link_error"):
                terminal.show(error)
                if time.monotonic() > ends_at_s or _is_final(target):
                    reason = f"{target.url} can't follow {source.url}: {error}"
                    raise TransferError(f"{reason}; {_ASIDE}") if has_told else NeverFollows(reason)
        if terminal.has_entered(LOOK_S):
            return


def _is_final(target: Connection) -> bool:
    """True if the target does not try again."""
    return target.info("replication").get("master_link_given_up") == "1"


def _show_sync(fields: dict[str, str], terminal: Terminal) -> None:
    if "master_sync_read_bytes" in fields:
        read, total = int(fields["master_sync_read_bytes"]), int(fields["master_sync_total_bytes"])
        of_all = f" of {total / 1e6:.1f}" if total > 0 else ""
        terminal.show(f"all data comes: {read / 1e6:.1f}{of_all} MB")


def _offset(source: Connection) -> int:
    return int(source.info("replication")["master_repl_offset"])


# The switch


def _switch(source: Connection, target: Connection, orders: Orders, terminal: Terminal) -> None:
    """Pause writes to the source, wait until the target has all, and let it take the writes."""
    ends_at_s = time.monotonic() + orders.pause_s
    try:
        # A pause that the source may have begun is ended, whatever fails.
        began_at_s = time.monotonic()
        offset = _pause(source, orders)
        _wait_for(target, offset, ends_at_s)
        target.call(b"REPLICAOF", b"NO", b"ONE")
        paused_ms = (time.monotonic() - began_at_s) * 1000
        if orders.pauses and time.monotonic() > ends_at_s:
            raise TransferError(
                f"{target.url} takes the writes now, but the pause had ended before that: the last that was written to the "
                "source may be missing"
            )
    except BaseException:
        if orders.pauses:
            _end_pause(source, orders, terminal)
        raise
    keys = target.info("keyspace")
    count = sum(int(each.partition(",")[0].removeprefix("keys=")) for each in keys.values())
    terminal.say(f"{target.url} takes the writes now, and has {count} keys: all up to offset {offset} of the source")
    if orders.pauses:
        terminal.say(f"writes were paused for {paused_ms:.0f} ms")
        left_s = max(ends_at_s - time.monotonic(), 0)
        terminal.say(f"the source holds writes for {left_s:.0f} s more: what is written there then is not in the target")
    else:
        terminal.say(f"without a pause, in {paused_ms:.0f} ms: what was written to the source meanwhile may be missing")


def _pause(source: Connection, orders: Orders) -> int:
    """Begin the pause, if there is to be one. Return the offset up to which the source has written then."""
    if not orders.pauses:
        return _offset(source)
    for words in ([b"WRITE"], []):
        # Older sources know a pause of all commands alone, which holds this connection as well: so all is said at once.
        source.call(b"MULTI")
        try:
            source.call(b"CLIENT", b"PAUSE", b"%d" % (orders.pause_s * 1000), *words)
            source.call(b"INFO", b"replication")
        except TransferError:
            with suppress(TransferError):
                source.call(b"DISCARD")
            raise
        paused, told = source.call(b"EXEC")
        if not isinstance(paused, hiredis.ReplyError):
            return _offset_in(told)
    raise TransferError(f"{source.url} can't pause its clients: {paused}; --no-pause switches without")


def _end_pause(source: Connection, orders: Orders, terminal: Terminal) -> None:
    """End the pause, or tell when it ends by itself: what has failed before that is what matters."""
    try:
        source.call(b"CLIENT", b"UNPAUSE")
    except TransferError as error:
        terminal.say(f"a pause of the source ends by itself within {orders.pause_s:g} s: {error}")
    else:
        terminal.say("the pause of the source has ended")


def _offset_in(told: bytes) -> int:
    fields = dict(line.split(b":", 1) for line in told.splitlines() if b":" in line)
    return int(fields[b"master_repl_offset"])


def _wait_for(target: Connection, offset: int, ends_at_s: float) -> None:
    """Wait until the target has all up to an offset. TransferError if that is not soon."""
    while True:
        fields = target.info("replication")
        if fields["role"] != "slave":
            raise TransferError(f"somebody else has told {target.url} to follow nobody")
        # Behind the end of the pause the source has gone on, whatever the target has.
        if time.monotonic() > ends_at_s:
            behind = max(offset - int(fields["slave_repl_offset"]), 0)
            raise TransferError(f"not switched in time: the target was still {behind} bytes behind; {_ASIDE}")
        if int(fields["slave_repl_offset"]) >= offset and fields["master_link_status"] == "up":
            return
        time.sleep(SHORT_LOOK_S)
