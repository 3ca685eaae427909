"""Folders of servers that were killed: the segments of their journals, and the values that the next server finds there."""

from __future__ import annotations

from pathlib import Path

from helpers.servers import ServerProcess, StartServer

NO_SAVES = ("--save", "")
ALWAYS = (*NO_SAVES, "--appendfsync", "always")
EVERYSEC = (*NO_SAVES, "--appendfsync", "everysec")


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("dump.kvs.*.journal"))


def asides(folder: Path) -> list[Path]:
    """Copies of damage, and segments behind it."""
    return sorted(path for path in folder.iterdir() if "damaged" in path.name)


def segments_aside(folder: Path) -> list[Path]:
    """Segments that no snapshot goes on with."""
    return sorted(folder.glob("dump.kvs.*.journal.*"))


def crash(server: ServerProcess) -> Path:
    """Kill a server; its folder."""
    server.kill()
    return server.directory


def values_after_crash(start_server: StartServer, server: ServerProcess, *keys: str) -> list[bytes | None]:
    with start_server(*ALWAYS, directory=crash(server)).connect() as wire:
        values: list[bytes | None] = wire.value("MGET", *keys)
        return values
