"""A vault as a Medium: its frames stand one behind the other, as in a file, so that all that knows frames works on it.

The header of a frame is in the manifest, and its payload is an object of its own: nothing is ever cut off or moved. A frame is
on the medium when the manifest names it. Whoever drops frames names them no more, and then removes their objects. What is held
of the manifest may have been replaced by others: `look` reads it anew, and a commit on an older one is refused (Refused).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from kvserver.errors import MediumError, Refused, Unknown
from kvserver.formats.frame import HEADER_SIZE, decode_header
from kvserver.formats.manifest import Manifest, StoredFrame
from kvserver.formats.scan import Frame
from kvserver.media.frame_bytes import FrameBytes
from kvserver.media.settling import Counted, Outcomes, replaced, wait_for
from kvserver.media.shared import SweptVault, Tip, Vault


class VaultMedium:
    """The frames of a vault. `epoch` is that of the writer, which each manifest tells; `owner` likewise."""

    poisoned = ""

    def __init__(
        self,
        vault: Vault,
        outcomes: Outcomes | None = None,
        *,
        owner: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.epoch = 0
        self.manifest = Manifest(owner=owner)
        self._vault = vault
        self._tag = ""
        self._outcomes = outcomes or Counted()
        self._sleep = sleep
        self._is_over = False
        # The frame that was read last.
        self._bytes: FrameBytes | None = None

    # The manifest

    def look(self) -> Manifest:
        """Read the manifest anew; an empty one if there is none. MediumError if it can't be read."""
        found, self._tag = self._vault.manifest()
        self.manifest = found or Manifest(owner=self.manifest.owner)
        return self.manifest

    def lead(self, epoch: int, lease_ms: int = 0) -> None:
        """Write in this epoch, with this lease: who wrote before can't replace the manifest any more.

        Refused if others have gone on.
        """
        self.epoch = epoch
        self._replace(self.manifest._replace(lease_ms=lease_ms))

    def link(self, digest: str, tip: Tip) -> None:
        """Let starts go on from the frame with this digest, which has all entries up to this one."""
        changed = self.manifest._replace(linked=digest, position=tip.position, mark_number=tip.number, mark_digest=tip.digest)
        self._replace(changed)

    def _replace(self, manifest: Manifest) -> None:
        manifest = manifest._replace(counter=self.manifest.counter + 1, epoch=self.epoch)
        steps = replaced(self._vault, manifest, self._tag, self._outcomes)
        self._tag = wait_for(steps, lambda: self._is_over, self._sleep)
        self.manifest = manifest

    # Reading

    @property
    def frames(self) -> tuple[StoredFrame, ...]:
        return self.manifest.frames

    def places(self) -> list[Frame]:
        """The frames and where they stand, as the manifest says."""
        places: list[Frame] = []
        for frame in self.frames:
            places.append(Frame(places[-1].end if places else 0, frame.length, frame.digest, 0))
        return places

    def size(self) -> int:
        return sum(frame.frame_length for frame in self.frames)

    def read(self, offset: int, length: int) -> bytes:
        pieces: list[bytes] = []
        start = 0
        for frame in self.frames:
            begin, end = max(offset, start), min(offset + length, start + frame.frame_length)
            if begin < end:
                pieces += self._read_frame(frame, begin - start, end - start)
            start += frame.frame_length
        return b"".join(pieces)

    def _read_frame(self, frame: StoredFrame, begin: int, end: int) -> Iterator[bytes]:
        if begin < HEADER_SIZE:
            yield frame.header[begin:end]
        begin = max(begin, HEADER_SIZE)
        if begin < end:
            if self._bytes is None or self._bytes.frame != frame:
                self._bytes = FrameBytes(self._vault, frame)
            data = self._bytes.read(begin, end - begin)
            # What is missing may be damage: the checksum tells, and the frames behind have their places all the same.
            yield data.ljust(end - begin, b"\0")

    def read_all(self) -> bytes:
        return self.read(0, self.size())

    def prove(self) -> None:
        """Do nothing: the vault refuses what is committed to a manifest that others have replaced."""

    def prove_place(self) -> None:
        """Do nothing: objects are found by their names alone."""

    # Writing

    def append(self, data: bytes) -> None:
        """Write bytes that never become a frame, as a writer does that dies over them."""
        writer = self._vault.begin()
        try:
            writer.write(data)
        finally:
            writer.abort()

    def begin_frame(self) -> _VaultFrame:
        return _VaultFrame(self, self._vault, self.frames)

    def begin_rewrite(self) -> _VaultRewrite:
        return _VaultRewrite(self, self._vault)

    def truncate(self, size: int) -> None:
        """Name no frame any more that ends behind `size`. Something may be wrong with them: the objects stay for some days."""
        kept, end = [], 0
        for frame in self.frames:
            end += frame.frame_length
            if end <= size:
                kept.append(frame)
        if len(kept) < len(self.frames):
            self._replace(self.manifest._replace(frames=tuple(kept)))

    def set_aside(self, offset: int, end: int | None = None) -> str:
        """The names of the objects there: nothing has to be copied, since objects stay where they are."""
        names, start = [], 0
        for frame in self.frames:
            if start + frame.frame_length > offset and (end is None or start < end):
                names.append(frame.name)
            start += frame.frame_length
        return ", ".join(names) or "nothing"

    def keep(self, frames: tuple[StoredFrame, ...]) -> None:
        """Name these frames and no others, then remove the objects of those that were dropped."""
        names = {frame.name for frame in frames}
        dropped = [frame.name for frame in self.frames if frame.name not in names]
        self._replace(self.manifest._replace(frames=frames))
        self.remove(dropped)
        if isinstance(self._vault, SweptVault) and not self._is_over:
            # What a writer that was killed has left costs space alone.
            with suppress(MediumError):
                self._vault.sweep(names)

    def remove(self, names: list[str]) -> None:
        """Remove objects that no manifest names, and none will. What is left of them costs space alone."""
        if not self._is_over:
            with suppress(MediumError):
                self._vault.remove(names)

    # The end

    def halt(self) -> None:
        """Write nothing any more, as if the process had been killed. Any thread may call this.

        A call of the vault that is under way is the last one, and a wait in the thread that uses this ends at once.
        """
        self._is_over = True

    def must_go_on(self) -> None:
        """MediumError behind `halt`."""
        if self._is_over:
            raise MediumError("the engine is closed")

    def close(self) -> None:
        self.halt()


class _VaultFrame:
    """A frame on its way to a vault, behind these frames."""

    def __init__(self, medium: VaultMedium, vault: Vault, before: tuple[StoredFrame, ...]) -> None:
        self.before = before
        self._medium = medium
        self._vault = vault
        self._object = vault.begin()
        self._is_whole = False

    def write(self, data: bytes) -> None:
        self._medium.must_go_on()
        self._object.write(data)

    def commit(self, header: bytes | None) -> None:
        found = decode_header(header) if header else None
        assert found, "a frame has a header"
        self._medium.must_go_on()
        self._object.commit()
        # From here on a manifest may name it, whatever becomes of this call.
        self._is_whole = True
        try:
            self._medium.keep((*self.before, StoredFrame(self._object.name, found.payload_length, found.digest)))
        except (Refused, Unknown):
            raise
        except MediumError:
            # No manifest names it, that is certain: or else each snapshot that fails would leave one.
            self._medium.remove([self._object.name])
            raise

    def abort(self) -> None:
        if not self._is_whole:
            self._object.abort()


class _VaultRewrite(_VaultFrame):
    """Frames of a vault that are kept, and perhaps one behind them. Nothing is copied."""

    def __init__(self, medium: VaultMedium, vault: Vault) -> None:
        super().__init__(medium, vault, ())

    def copy(self, offset: int, length: int) -> Iterator[bytes]:
        """Keep the frames of this range. Nothing was copied, so that no piece is given."""
        start = 0
        for frame in self._medium.frames:
            if offset <= start and start + frame.frame_length <= offset + length:
                self.before = (*self.before, frame)
            start += frame.frame_length
        yield from ()

    def commit(self, header: bytes | None) -> None:
        if header is not None:
            super().commit(header)
            return
        self._object.abort()
        self._medium.keep(self.before)
