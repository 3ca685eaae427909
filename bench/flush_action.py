"""The actions of a server while its clients are watched: SAVE, BGSAVE, RESTORE, BGSAVE with compaction, one long value.

Owns the ways in which each is asked for and its end is seen. Each uses a control connection of its own, since SAVE and RESTORE
answer only when they are done. Must never measure. INFO is asked at intervals: neither server announces the end of a
background flush to anyone.
"""

import time
from collections.abc import Callable

from bench.failure import BenchFailed
from bench.process import ServerProcess
from bench.request import encode_request

Action = Callable[[], None]

INFO_INTERVAL_S = 0.05
LONG_KEY = "long"
# A medium is rewritten when it has grown past a few times its live size: so many flushes are enough for that.
MAX_FLUSHES_TO_COMPACTION = 8
SAME_SIZE = 1.1


class ActionFailed(BenchFailed):
    """The server can't do an action, or says that it failed; the message names it."""


def save(server: ServerProcess) -> None:
    _call(server, "SAVE")


def restore(server: ServerProcess) -> None:
    if (reply := _call(server, "RESTORE")) != 1:
        raise ActionFailed(f"RESTORE answered {reply!r}: no frame was loaded")


def bgsave(server: ServerProcess) -> None:
    _call(server, "BGSAVE")
    wait_until_settled(server)


def bgsave_until_compaction(server: ServerProcess) -> None:
    """Flush until the medium was rewritten: until a flush leaves it about as large as it was.

    The server must keep few frames, so that one more is much. ActionFailed if no flush does.
    """
    for _ in range(MAX_FLUSHES_TO_COMPACTION):
        before_bytes = server.data_bytes()
        bgsave(server)
        if server.data_bytes() < SAME_SIZE * before_bytes:
            return
    raise ActionFailed(f"no compaction within {MAX_FLUSHES_TO_COMPACTION} flushes")


def wait_until_settled(server: ServerProcess) -> None:
    while True:
        with server.control() as control:
            persistence = control.info("persistence")
        if "rdb_bgsave_in_progress" not in persistence:
            raise ActionFailed("INFO persistence has no rdb_bgsave_in_progress, so the end of a flush can't be seen")
        # Redis has no compaction of snapshots, and so no such field.
        running = persistence["rdb_bgsave_in_progress"], persistence.get("compaction_in_progress", "0")
        if running == ("0", "0"):
            break
        time.sleep(INFO_INTERVAL_S)
    if persistence.get("rdb_last_bgsave_status", "ok") != "ok":
        raise ActionFailed("the background flush failed, says INFO persistence")


class LongValue:
    """One long value, and its SET and GET. What would hold the interpreter's lock, which the load needs, is done before."""

    def __init__(self, value: bytes) -> None:
        self._request = encode_request("SET", LONG_KEY, value)
        self._reply_bytes = len(b"$%d\r\n" % len(value)) + len(value) + len(b"\r\n")

    def set(self, server: ServerProcess) -> None:
        with server.control() as control:
            control.send(self._request)
            control.receive()

    def get(self, server: ServerProcess) -> None:
        with server.control() as control:
            control.send(encode_request("GET", LONG_KEY))
            control.receive_raw(self._reply_bytes)


def _call(server: ServerProcess, command: str) -> object:
    with server.control() as control:
        return control.call(command)
