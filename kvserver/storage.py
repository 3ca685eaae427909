"""Where a server keeps its data: in a folder, in memory, or on an engine that other nodes share, as its options say.

Opens what is to be opened, for each start anew, and makes the parts that keep data there. What is in memory is kept over a
crash, and an engine stays open while a node is demoted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from kvserver.dispatch.table import CommandTable
from kvserver.errors import ExtraMissing, KVServerError, MediumError, MediumLocked, StartError
from kvserver.media.locate import look_at_folder, open_folder
from kvserver.media.medium import Contents, Place
from kvserver.media.memory import new_place
from kvserver.media.names import owner_path
from kvserver.media.owner import keep_written, owner_of, written_of
from kvserver.options.config import Config
from kvserver.options.table import IN_MEMORY
from kvserver.persistence.backup import Backup
from kvserver.persistence.local_data import LocalData
from kvserver.state.session import ServerState

if TYPE_CHECKING:
    # A server imports these only if it has an engine.
    from kvserver.failover.shared_data import SharedData
    from kvserver.media.shared import Engine


class Storage:
    """The storage of a server with these options. `in_words_of_the_shell`: errors name options as there."""

    def __init__(self, config: Config, *, in_words_of_the_shell: bool) -> None:
        self._config = config
        self._in_words_of_the_shell = in_words_of_the_shell
        # What is in memory, for a server that comes back after a crash.
        self._place: Place | None = None
        self._engine: Engine | None = None

    def forget(self) -> None:
        """Forget what is kept in memory: the next start finds nothing."""
        self._place = None

    async def open(self, state: ServerState, table: CommandTable, wake: Callable[[], None]) -> LocalData | SharedData:
        """Open all, for a start. `wake` has those served who wait for keys. StartError, with one line for the user."""
        if self._config.medium:
            from kvserver.failover.shared_data import open_for

            try:
                self._engine = await open_for(self._config)
            except (MediumError, ExtraMissing) as error:
                raise StartError(f"cannot use the medium: {error}") from error
            return self._share(self._engine, state, table, wake, is_first=True, waits=False)
        self._place = place = self._open_place()
        data = LocalData(state, table, place)
        if self._config.snapshots:
            try:
                data.backup = self._open_backup(state, data)
            except KVServerError as error:
                place.close()
                raise StartError(str(error)) from error
        return data

    def reopen(self, state: ServerState, table: CommandTable, wake: Callable[[], None], *, waits: bool) -> SharedData:
        """Make the parts of a node that was demoted. `waits`: another node is to take over first."""
        assert self._engine, "only a node of an engine is demoted"
        return self._share(self._engine, state, table, wake, is_first=False, waits=waits)

    def _share(
        self,
        engine: Engine,
        state: ServerState,
        table: CommandTable,
        wake: Callable[[], None],
        *,
        is_first: bool,
        waits: bool,
    ) -> SharedData:
        from kvserver.failover.shared_data import SharedData

        return SharedData(state, table, engine, wake, is_first=is_first, waits=waits)

    def close(self) -> None:
        """Let go of the engine, if there is one."""
        if self._engine:
            self._engine.close()
            self._engine = None

    def _open_place(self) -> Place:
        config = self._config
        if config.dir == IN_MEMORY:
            if config.history.is_any:
                option = "--history" if self._in_words_of_the_shell else "history="
                raise StartError(f"{option} keeps what a directory had, and the data is in memory")
            return self._place or new_place()
        try:
            config.dir = os.path.abspath(config.dir)
        except FileNotFoundError:
            reason = "the working directory does not exist any more"
            raise StartError(f"cannot use the directory {config.dir}: {reason}") from None
        try:
            return open_folder(config.dir, config.dbfilename)
        except MediumLocked as error:
            option = "--dir" if self._in_words_of_the_shell else "dir="
            raise StartError(f"{error}; {option} takes another directory") from error
        except MediumError as error:
            raise StartError(str(error)) from error

    def _open_backup(self, state: ServerState, data: LocalData) -> Backup:
        """The copies of the snapshots in another place. MediumError or ExtraMissing."""
        # Most servers have none.
        from kvserver.media.engine_urls import open_vault, without_password

        config = self._config
        if config.dir == IN_MEMORY:
            raise MediumError(f"--snapshots copies the snapshots of a directory, and --dir {IN_MEMORY} has none")
        path = os.path.join(config.dir, config.dbfilename)
        # What stands behind the question mark is for who connects.
        state.backup.url = without_password(config.snapshots.partition("?")[0])
        return Backup(
            state.backup,
            open_vault(config.snapshots),
            owner_of(path),
            owner_path(path),
            lambda: data.snapshots.frames.latest,
            lambda: _open_to_read(config.dir, config.dbfilename),
            lambda: config.keep_frames,
            written_of(path),
            lambda counter: keep_written(path, counter),
        )


def _open_to_read(folder: str, name: str) -> Contents:
    """The medium of a folder as it is now: it stays readable though compaction puts another file in its place."""
    medium = look_at_folder(folder, name).medium
    medium.prove_place()
    return medium
