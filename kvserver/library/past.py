"""PastFolder: the data that a server keeps in a folder as it was at earlier moments, read without a server.

Nothing in the folder is changed, and a server may be using it. `persistence/past` does the work.
"""

from __future__ import annotations

import os

from kvserver.commands.catalogue import COMMANDS
from kvserver.data.databases import Databases
from kvserver.dispatch.table import CommandTable
from kvserver.formats.moment import parse_moment
from kvserver.media.history import HistoryFolder
from kvserver.options.config import Config
from kvserver.persistence.changes import Change, Changes
from kvserver.persistence.past import FoundFrame, Past, PastLoader
from kvserver.persistence.workplace import Here, finish
from kvserver.state.session import ServerState
from kvserver.system import now_ms


class PastFolder:
    """The history of the folder at `path`, whose snapshots are in the file `dbfilename`.

    Moments are texts, as `formats/moment` tells. Every method raises HistoryError if there is no such moment, and MediumError
    if the files can't be read.
    """

    def __init__(self, path: str, dbfilename: str) -> None:
        medium_path = os.path.join(os.path.abspath(path), dbfilename)

        def make_state() -> ServerState:
            return ServerState(Config(), Databases(now_ms), COMMANDS, now_ms)

        table = CommandTable(COMMANDS, make_state().usages)
        self._loader = PastLoader(HistoryFolder(medium_path), make_state, table, Here())

    def frames(self) -> list[FoundFrame]:
        """The frames that can be gone back to, in the order of time."""
        return finish(self._loader.frames())

    def at(self, moment: str, past: Past | None = None) -> Past:
        """The data of a moment. If `past` is on the way there, it may become that."""
        return finish(self._loader.load(parse_moment(moment, now_ms()), past))

    def changes(self, key: bytes, database: int, most: int) -> list[Change]:
        """The last changes of a key of a database, the newest first."""
        return finish(Changes(self._loader, COMMANDS).of(key, database, most))
