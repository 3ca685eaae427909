"""Copies of a server's snapshots in another place: what a flush has written is brought to a vault, beside the server.

Owns the vault and what its manifest says. A copy is read from a file of its own and sent by a thread of its own, in pieces, so
that neither the event loop nor the journal waits for a network. A failure is told, and tried again; it never fails a flush.

Each try reads the manifest first and replaces it by compare-and-swap. So a try that was cut off needs no cure of its own: the
next one sees what has become of it. The manifest of another owner is never replaced.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from kvserver.errors import ManifestInvalid, MediumError, StartError, Unknown
from kvserver.formats.frame import HEADER_SIZE
from kvserver.formats.manifest import MOST_FRAMES, Manifest, StoredFrame
from kvserver.formats.scan import Frame
from kvserver.media.medium import COPY_BYTES, Contents
from kvserver.media.shared import Vault
from kvserver.persistence.disk import Disk
from kvserver.state.statistics import BackupFacts

# The time for which a start waits for the vault. After that the server serves, and goes on trying.
START_WAIT_S: Final = 5.0
# The time for which a server that leaves waits for its last snapshot to arrive. The next start brings it, if it must.
LEAVE_WAIT_S: Final = 30.0
# The time from a try that failed to the next one, which doubles each time.
FIRST_DELAY_S: Final = 1.0
LONGEST_DELAY_S: Final = 60.0

_log = logging.getLogger("kvserver")


class Backup:
    """The copies in a vault, of which the last `keep_frames()` are kept, but no more than MOST_FRAMES.

    - `owner` names the server whose backups these are. `owner_path` is the file that has that name, for persons.
    - `latest` gives the newest frame of the medium, or None; `open_medium` opens the medium's bytes to read them, and what is
      open stays readable whatever becomes of the medium.
    - `written` is the counter of the newest manifest that this folder has written, or was about to; None if nobody knows.
      `keep_written` keeps it.
    """

    def __init__(
        self,
        facts: BackupFacts,
        vault: Vault,
        owner: str,
        owner_path: str,
        latest: Callable[[], Frame | None],
        open_medium: Callable[[], Contents],
        keep_frames: Callable[[], int],
        written: int | None = None,
        keep_written: Callable[[int], None] = lambda counter: None,
    ) -> None:
        self._facts = facts
        self._vault = vault
        self._owner = owner
        self._owner_path = owner_path
        self._latest = latest
        self._open_medium = open_medium
        self._keep_frames = keep_frames
        self._disk = Disk()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        # One try at a time.
        self._lock = asyncio.Lock()
        # The digest of the snapshot that the vault goes on from, as far as this server has seen to it.
        self._there = ""
        self._written, self._keep_written = written, keep_written
        # Objects that this server has sent, and those that it has to remove, which no manifest may name any more.
        self._sent: list[StoredFrame] = []
        self._unused: set[str] = set()

    async def begin(self) -> None:
        """Look whose backups are in the vault, and begin. A vault that does not answer is told, and tried again later.

        StartError if they are another owner's, or if the manifest is none.
        """
        try:
            async with asyncio.timeout(START_WAIT_S):
                manifest, _ = await self._disk.run(self._vault.manifest)
        except OSError as error:
            if isinstance(error.__cause__, ManifestInvalid):
                raise StartError(f"{error}: --snapshots has to name another place") from None
            # TimeoutError is one, and has no text.
            self._tell(str(error) or f"no answer within {START_WAIT_S:g} s")
        else:
            if reason := self._why_foreign(manifest):
                raise StartError(reason)
            _log.info("snapshots are copied to %s", self._facts.url)
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Bring the newest frame to the vault, if it is not there: a flush has succeeded, or a start has found it."""
        if self._lacks_newest:
            # What waits already has waited longer.
            self._facts.waiting_since = self._facts.waiting_since or time.time()
            self._wanted.set()

    @property
    def _lacks_newest(self) -> bool:
        frame = self._latest()
        return frame is not None and frame.digest != self._there

    async def leave(self) -> None:
        """Bring the newest frame to the vault, for no longer than LEAVE_WAIT_S, and let go. A failure is logged."""
        if self._task:
            if self._lacks_newest:
                _log.info("copying the last snapshot to %s before leaving, for at most %g s", self._facts.url, LEAVE_WAIT_S)
            try:
                async with asyncio.timeout(LEAVE_WAIT_S):
                    if self._lacks_newest:
                        await self._catch_up()
                    await self._disk.run(self._vault.close)
            except Exception as error:
                reason = str(error) or f"it has not arrived within {LEAVE_WAIT_S:g} s"
                _log.warning("leaving without a copy of the last snapshot, which the next start sends: %s", reason)
        self.abandon()

    def abandon(self) -> None:
        """Let go at once, whatever is under way."""
        if self._task:
            self._task.cancel()
        # A call that is running may wait for a network: nobody waits for it.
        self._disk.forget()

    # A try

    async def _run(self) -> None:
        delay_s = FIRST_DELAY_S
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), delay_s if self._facts.error else None)
            self._wanted.clear()
            try:
                await self._catch_up()
            except Exception as error:
                self._tell(str(error), error)
                delay_s = min(2 * delay_s, LONGEST_DELAY_S)
            else:
                delay_s = FIRST_DELAY_S

    def _tell(self, reason: str, error: Exception | None = None) -> None:
        # Each failure of a long outage says the same.
        if reason != self._facts.error:
            text = "the snapshots are not copied to %s, which is tried again: %s"
            _log.warning(text, self._facts.url, reason, exc_info=None if isinstance(error, OSError) else error)
        self._facts.error = reason

    async def _catch_up(self) -> None:
        """Bring the newest frame to the vault, and what is the newest then, until it is there. MediumError if that fails."""
        facts = self._facts
        async with self._lock:
            if facts.error and not self._lacks_newest:
                # There may be nothing to copy yet, while the vault does not answer still.
                await self._read_manifest()
            try:
                while (frame := self._latest()) and frame.digest != self._there:
                    facts.in_progress = True
                    try:
                        await self._bring(frame)
                    except MediumError:
                        # If another flush has ended meanwhile, its frame goes next, and the file may be another one.
                        if self._latest() == frame:
                            raise
            finally:
                facts.in_progress = False
        facts.waiting_since = 0.0
        if facts.error:
            _log.info("the snapshots are copied to %s again", facts.url)
            facts.error = ""

    async def _bring(self, frame: Frame) -> None:
        """Let the manifest go on from this frame, which is sent unless it is in the vault already."""
        facts, began_at, started_at = self._facts, time.time(), time.perf_counter()
        old, tag = await self._read_manifest()
        stored = await self._find(frame, old) or await self._send(frame)
        others = [found for found in old.frames if found.digest != frame.digest]
        # As many as are to be kept, with the new one.
        count = min(self._keep_frames(), MOST_FRAMES)
        kept = [*others[max(len(others) - count + 1, 0) :], stored]
        counter = max(old.counter, self._written or 0) + 1
        new = Manifest(counter=counter, linked=frame.digest, frames=tuple(kept), owner=self._owner)
        is_new = new._replace(counter=old.counter) != old
        if is_new:
            await self._commit(new, tag)
            took_s = time.perf_counter() - started_at
            text = "copied the snapshot %s… (%d bytes) to %s in %.3f s"
            _log.info(text, frame.digest[:16], frame.payload_length, facts.url, took_s)
        self._there, facts.last_at, facts.waiting_since = frame.digest, int(time.time()), began_at
        if is_new:
            # A manifest whose outcome was unknown can't come any more, since its tag is gone.
            await self._remove({found.name for found in [*old.frames, *self._sent]} - {found.name for found in kept})
            self._sent.clear()

    async def _read_manifest(self) -> tuple[Manifest, str]:
        """The manifest, or an empty one, and its tag. MediumError if it is another's, or can't be read."""
        manifest, tag = await self._disk.run(self._vault.manifest)
        if reason := self._why_foreign(manifest):
            raise MediumError(reason)
        if manifest and self._written is not None and self._written < manifest.counter:
            raise MediumError(
                f"{self._facts.url} has backups that another server has made under this one's name, as if its directory had "
                f"been copied: remove {self._owner_path} from the copy, and start both again"
            )
        return manifest or Manifest(), tag

    def _why_foreign(self, manifest: Manifest | None) -> str:
        """A line that says whose a manifest is if it is not this server's, and what to do; or nothing."""
        if manifest is None or manifest.owner == self._owner:
            return ""
        another = "--snapshots has to name another place"
        if not manifest.owner:
            return f"{self._facts.url} has the snapshots of servers that share an engine: {another}"
        return (
            f"{self._facts.url} has the backups of another server, {manifest.owner}: {another}, or, if that server is gone "
            f"for good and this one is to go on with them: echo {manifest.owner} > {shlex.quote(self._owner_path)}"
        )

    async def _find(self, frame: Frame, manifest: Manifest) -> StoredFrame | None:
        """The object with the payload of a frame that the vault has, or None."""
        for found in [*reversed(manifest.frames), *self._sent]:
            if found.digest == frame.digest:
                if await self._is_there(found):
                    return found
                text = "%s should have the snapshot %s…, but %s is not there as a whole: it is copied again"
                _log.error(text, self._facts.url, found.digest[:16], found.name)
        return None

    async def _is_there(self, stored: StoredFrame) -> bool:
        """True if there is an object of this name and length. Its bytes are not proven: `kvserver check` does that."""
        offset = max(stored.length - 1, 0)
        try:
            return len(await self._disk.run(lambda: self._vault.read(stored.name, offset, 2))) == stored.length - offset
        except MediumError:
            return False

    async def _send(self, frame: Frame) -> StoredFrame:
        """Send the payload of a frame as a new object. MediumError if that fails, or the file has something else there."""
        run = self._disk.run
        stored = StoredFrame("", frame.payload_length, frame.digest)
        medium = await run(self._open_medium)
        try:
            if await run(lambda: medium.read(frame.offset, HEADER_SIZE)) != stored.header:
                raise MediumError(f"the snapshot is not at offset {frame.offset} of its file any more")
            writer = await run(self._vault.begin)
            try:
                hasher = hashlib.sha256()

                def copy(position: int) -> None:
                    data = medium.read(position, min(COPY_BYTES, frame.end - position))
                    hasher.update(data)
                    writer.write(data)

                for position in range(frame.offset + HEADER_SIZE, frame.end, COPY_BYTES):
                    await run(partial(copy, position))
                if hasher.hexdigest() != frame.digest:
                    raise MediumError(f"the snapshot at offset {frame.offset} of its file can't be read as it was written")
                await run(writer.commit)
            except BaseException:
                self._beside(writer.abort)
                raise
            self._sent.append(stored._replace(name=writer.name))
            return self._sent[-1]
        finally:
            # Nobody waits for it: the vault may not answer, and this may be the end of the server.
            self._beside(medium.close)

    def _beside(self, call: Callable[[], None]) -> None:
        """Make a call behind those before it, and don't wait for it."""
        if not self._disk.is_closed:
            self._disk.run(call)

    async def _commit(self, manifest: Manifest, tag: str) -> None:
        # It is kept before: what lands although nobody knows is this server's own.
        await self._disk.run(lambda: self._keep_written(manifest.counter))
        self._written = manifest.counter
        try:
            await self._disk.run(lambda: self._vault.commit(manifest, tag))
        except Unknown:
            # If it comes later, the next try finds it, or is refused since the tag is another one.
            if (await self._read_manifest())[0] != manifest:
                raise

    async def _remove(self, names: set[str]) -> None:
        """Remove objects that no manifest names any more. What fails is tried again behind the next snapshot."""
        self._unused |= names
        if self._unused:
            try:
                await self._disk.run(lambda: self._vault.remove(sorted(self._unused)))
            except MediumError as error:
                _log.warning("older snapshots can't be removed from %s for now: %s", self._facts.url, error)
            else:
                self._unused.clear()
