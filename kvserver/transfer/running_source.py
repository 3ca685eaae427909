"""A running redis-server as a source: all that it has at one instant, by its replication protocol. It is only read.

It sends what it sends to a new replica, and goes on serving meanwhile. What is written there later does not come.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from typing import Final

from kvserver.errors import LinkLost, SourceInvalid, TransferError
from kvserver.following.handshake import LONGEST_LINE_BYTES, Credentials, FullResync, Handshake, Place
from kvserver.following.transfer import Transfer
from kvserver.formats.rdb_file import MAX_STRING_BYTES, RDBEntry, RDBLibrary
from kvserver.transfer.connection import Connection
from kvserver.transfer.staging import Staging

CHUNK_BYTES: Final = 1 << 18
# A source that has much to save first sends empty lines meanwhile.
TIMEOUT_S: Final = 120


def look_at_source(source: Connection) -> None:
    """TransferError if this server can't send its data, in a line that says why."""
    if "kvserver_version" in source.info("server"):
        raise TransferError(f"{source.url} is a kvserver, which lets nobody follow it: kvserver export brings its data out")
    if source.info("persistence").get("loading") == "1":
        raise TransferError(f"{source.url} is loading its data: try again when it has ended")
    if source.info("replication").get("master_link_status") == "down":
        raise TransferError(f"{source.url} is a replica that has lost its source: its data may be old")


def load(url: str, staging: Staging, report: Callable[[int, int], None]) -> int:
    """Bring in all that the server at a URL has. Return the number of bytes that were read.

    `report` is told how many have been read so far, and how many there are, or 0 if the source does not tell. TransferError
    if the source refuses, or the connection is lost; SourceInvalid if what it sends can't be kept.
    """
    with Connection(url) as connection:
        look_at_source(connection)
        try:
            with closing(connection.detach()) as link:
                link.settimeout(TIMEOUT_S)
                return _load(link, staging, report)
        except LinkLost as error:
            raise TransferError(f"{connection.url}: {error}") from None
        except OSError as error:
            raise TransferError(f"no data from {connection.url}: {error.strerror or error}") from None
        except SourceInvalid as invalid:
            raise SourceInvalid(f"{connection.url}: {invalid}") from None


def _load(link: socket.socket, staging: Staging, report: Callable[[int, int], None]) -> int:
    behind = _greet(link)
    transfer = Transfer(MAX_STRING_BYTES)
    while not transfer.is_done:
        for item in transfer.feed(behind):
            if isinstance(item, RDBEntry):
                staging.put(item.database, item.key, item.value, item.expires_at_ms)
            elif isinstance(item, RDBLibrary):
                staging.put_library(item.text)
        report(transfer.read_bytes, transfer.total_bytes)
        behind = b"" if transfer.is_done else _receive(link)
    return transfer.read_bytes


def _greet(link: socket.socket) -> bytes:
    """Greet as a new replica. Return what has come behind that."""
    # Whoever has connected has logged in.
    handshake = Handshake(Credentials(), Place("", 0))
    link.sendall(handshake.begin())
    data = b""
    while handshake.answer is None:
        line, end, data = data.partition(b"\n")
        if end:
            link.sendall(handshake.take(line.rstrip(b"\r")))
            continue
        data = line + _receive(link)
        if len(data) > LONGEST_LINE_BYTES and b"\n" not in data:
            raise LinkLost("it answers by a line without an end")
    assert isinstance(handshake.answer, FullResync), "it was asked for all data"
    return data


def _receive(link: socket.socket) -> bytes:
    data = link.recv(CHUNK_BYTES)
    if not data:
        raise LinkLost("it has closed the connection")
    return data
