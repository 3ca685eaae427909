"""PastFolder: the data that a server keeps in a folder as it was at earlier moments, read without a server.

Nothing in the folder is changed, and a server may be using it. `persistence/past` does the work.
"""

from __future__ import annotations

import os

from kvserver.commands.catalogue import COMMANDS
from kvserver.data.databases import Databases
from kvserver.dispatch.table import CommandTable
from kvserver.errors import NotRecorded
from kvserver.formats.moment import AtTime, parse_moment
from kvserver.library.folder import ServerFolder
from kvserver.media.history import HistoryFolder
from kvserver.options.config import Config
from kvserver.persistence.changes import Change, Changes
from kvserver.persistence.past import FoundFrame, Past, PastLoader
from kvserver.persistence.workplace import Here, finish
from kvserver.state.session import ServerState
from kvserver.system import now_ms


class PastFolder:
    """The history of the folder at `path`, whose snapshots are in the file `dbfilename`.

    Moments are texts, as `formats/moment` tells. The present is one that every folder has: where nothing was recorded of it,
    it is what a start would load. Every method raises HistoryError if there is no such moment, and MediumError if the files
    can't be read.
    """

    def __init__(self, path: str, dbfilename: str) -> None:
        self._path = os.path.abspath(path)
        self._dbfilename = dbfilename
        table = CommandTable(COMMANDS, _make_state().usages)
        archive = HistoryFolder(os.path.join(self._path, dbfilename))
        self._loader = PastLoader(archive, _make_state, table, Here())

    def frames(self) -> list[FoundFrame]:
        """The frames that can be gone back to, in the order of time."""
        return finish(self._loader.frames())

    def at(self, moment: str, past: Past | None = None) -> Past:
        """The data of a moment. If `past` is on the way there, it may become that."""
        present_ms = now_ms()
        named = parse_moment(moment, present_ms)
        try:
            return finish(self._loader.load(named, past))
        except NotRecorded:
            present = self._present() if named == AtTime(present_ms) else None
            if present is None:
                raise
        present.settle(present_ms)
        return present

    def _present(self) -> Past | None:
        """The data that a start would load now, or None if there is none."""
        with ServerFolder(self._path, self._dbfilename, read_only=True) as folder:
            is_there = folder.recovered.frame or folder.recovered.segments
        return Past(ServerState(Config(), folder.databases, COMMANDS, now_ms)) if is_there else None

    def changes(self, key: bytes, database: int, most: int) -> list[Change]:
        """The last changes of a key of a database, the newest first."""
        return finish(Changes(self._loader, COMMANDS).of(key, database, most))


def _make_state() -> ServerState:
    return ServerState(Config(), Databases(now_ms), COMMANDS, now_ms)
