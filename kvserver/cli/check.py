"""`kvserver check` and `kvserver compact`: the files of a server are examined, and made shorter, without a server.

Checking never writes to a file. Results are lines of text for the caller's `print_line`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import BinaryIO, TypeVar

from kvserver.errors import MediumError
from kvserver.formats.moment import show_time
from kvserver.formats.record import EMPTY_STORE
from kvserver.formats.scan import Scan, Tail, scan
from kvserver.formats.segment import RecordInvalid, Records, SegmentScan, Steps, read_records, scan_segment
from kvserver.media.file import FileMedium
from kvserver.media.medium import repair
from kvserver.media.names import is_segment
from kvserver.media.segments import Segments
from kvserver.persistence.chain import Chain
from kvserver.persistence.workplace import Here, drive, finish
from kvserver.system import Progress
from kvserver.types import TAGGED

Print = Callable[[str], None]
T = TypeVar("T")


def check(path: str, dbfilename: str, print_line: Print) -> bool:
    """Print the contents of a folder of data, of a medium's file or of a segment of a journal. True if all is well."""
    if os.path.isdir(path):
        return check_folder(os.path.join(path, dbfilename), print_line)
    if is_segment(path):
        return check_segment(path, print_line).tail is Tail.NONE
    return check_file(path, print_line, _chain_beside(path).links if os.path.exists(path) else ())


def check_folder(medium_path: str, print_line: Print) -> bool:
    """Print the contents of a medium and of the segments beside it, and what a start would do with them.

    True if all is well. MediumError if nothing is there or a file can't be read.
    """
    segments = Segments(medium_path)
    chain = Chain({number: check_segment(segments.path(number), print_line) for number in segments.numbers()})
    has_medium = os.path.exists(medium_path)
    aside = segments.asides()
    if not (has_medium or chain.scans or aside):
        raise MediumError(f"there is no {medium_path}, and no journal beside it")
    result = _scan_file(medium_path, chain.links) if has_medium else Scan(0)
    is_well = not has_medium or _tell_file(medium_path, result, print_line)
    frames = result.frames
    for _, path in aside:
        print_line(f"put aside, and never replayed but by `kvserver apply`: {path}")
    last = f"load the frame at offset {frames[-1].offset}" if frames else "begin with an empty store"
    if not chain.scans:
        print_line(f"a start would {last}")
        return is_well
    linked = next((frame for frame in reversed(frames) if frame.digest == chain.digest), None)
    if chain.is_linked and not linked and chain.digest != EMPTY_STORE:
        print_line(f"DAMAGED: the journal goes on from {_name(chain.digest)}, which is not in the medium; two readings:")
        print_line(f"a start would {last}, and put the segments aside: {_list(sorted(chain.scans))}")
        print_line(f"`kvserver apply` would, after that, replay {chain.replayed[0]} to {chain.replayed[-1]} of them on it")
        return False
    base = f"load the frame at offset {linked.offset}" if linked else "begin with an empty store" if chain.is_linked else last
    if chain.replayed:
        print_line(f"a start would {base} and replay the segments {chain.replayed[0]} to {chain.replayed[-1]}")
    else:
        print_line(f"a start would {base} and replay nothing")
    if chain.replayed and frames and linked is not frames[-1]:
        print_line(f"a start without the segments would {last}")
    if chain.superfluous:
        print_line(f"a start would remove the segments that are older: {_list(chain.superfluous)}")
    if chain.lost_something:
        print_line(f"DAMAGED: {chain.reason}; a start would set aside what is behind, segments: {_list(chain.behind)}")
    return is_well and not chain.reason


def check_segment(path: str, print_line: Print) -> SegmentScan:
    """Print the contents of a segment, and return the scan of it. MediumError if the file can't be read."""
    result = _scan_segment(path)
    commands = 0

    def count(records: Records) -> tuple[()]:
        nonlocal commands
        commands += len(records.commands)
        return ()

    try:
        _run_on_file(path, lambda _: read_records(result.valid_length, count))
    except RecordInvalid as invalid:
        result.valid_length, result.tail, result.reason = invalid.offset, Tail.DAMAGED, str(invalid)
    print_line(f"{path}: {result.size} bytes, {result.records} valid frames, {commands} commands")
    for link in result.links:
        print_line(f"link at offset {link.offset}: goes on from {_name(link.digest)}")
    for loss in result.losses:
        print_line(f"loss at offset {loss.offset}: the start at {show_time(loss.time_ms)} cut off what was damaged there")
    if result.tail is not Tail.NONE:
        print_line(f"{_kind(result.tail)}: {result.tail_length} bytes at offset {result.valid_length}: {result.reason}")
    return result


def _name(digest: str) -> str:
    return "the empty store" if digest == EMPTY_STORE else f"the snapshot {digest[:16]}…"


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def _kind(tail: Tail) -> str:
    return "torn" if tail is Tail.TORN else "DAMAGED"


def check_file(path: str, print_line: Print, links: Collection[str] = ()) -> bool:
    """Print offset, length and state of each frame, and the damages between and behind them. True if there are none.

    `links` are the digests of frames that a journal goes on from. No lock is taken, so that the file may be that of a running
    server; a frame that it is writing is a torn tail then. MediumError if the file can't be read.
    """
    return _tell_file(path, _scan_file(path, links), print_line)


def _tell_file(path: str, result: Scan, print_line: Print) -> bool:
    print_line(f"{path}: {result.size} bytes")
    for number, frame in enumerate(result.frames, 1):
        for offset, end, reason in result.damages:
            if end == frame.offset:
                print_line(f"DAMAGED: {end - offset} bytes at offset {offset}: {reason}")
        print_line(
            f"frame {number}: offset {frame.offset}, length {frame.end - frame.offset} (payload {frame.payload_length}), "
            f"checksum ok ({frame.digest[:16]}…), {frame.member_count} keys"
        )
    if result.tail is Tail.NONE:
        print_line(f"{len(result.frames)} valid frames, nothing behind them")
        return not result.damages
    print_line(f"{_kind(result.tail)}: {result.tail_length} bytes at offset {result.valid_length}: {result.reason}")
    loaded = f"the frame at offset {result.frames[-1].offset}" if result.frames else "nothing: no frame is valid"
    print_line(f"{len(result.frames)} valid frames; a start would load {loaded}")
    return False


def compact_file(path: str, keep_frames: int, print_line: Print) -> None:
    """Rewrite a file that no server uses with its last frames, back to the frame that the journal beside it goes on from.

    MediumError, with the file as it was, if that fails or no frame is valid.
    """
    if not os.path.isfile(path):
        raise MediumError(f"{path} is not a file")
    chain = _chain_beside(path)
    with FileMedium(path, with_journal=True) as medium:
        result = _scan_file(path, chain.links)
        if not result.frames:
            raise MediumError(f"{path} is left as it is, since no frame of it is valid: {result.reason or 'it is empty'}")
        digests = [frame.digest for frame in reversed(result.frames)]
        keep_frames = max(keep_frames, digests.index(chain.digest) + 1 if chain.digest in digests else 0)
        before = result.size
        if result.tail is not Tail.NONE:
            print_line(f"cut behind the last valid frame: {result.tail_length} bytes ({result.reason})")
        repair(medium, result)
        kept = result.frames[-keep_frames:]
        rewrite = medium.begin_rewrite()
        try:
            total = sum(frame.end - frame.offset for frame in kept)
            with Progress("copying", lambda: total) as progress:
                copied = 0
                for frame in kept:
                    for piece in rewrite.copy(frame.offset, frame.end - frame.offset):
                        copied += len(piece)
                        progress.update(copied)
            rewrite.commit(None)
        except BaseException:
            rewrite.abort()
            raise
        print_line(f"{path}: {before} bytes before, {medium.size()} now; {len(kept)} of {len(result.frames)} frames kept")


def _chain_beside(medium_path: str) -> Chain:
    segments = Segments(medium_path)
    return Chain({number: _scan_segment(segments.path(number)) for number in segments.numbers()})


def _scan_file(path: str, links: Collection[str]) -> Scan:
    return _run_on_file(path, lambda size: scan(size, TAGGED, load=False, links=links))


def _scan_segment(path: str) -> SegmentScan:
    return _run_on_file(path, scan_segment)


def _run_on_file(path: str, begin: Callable[[int], Steps[T]]) -> T:
    """Run the generator that `begin` makes of a file's size to its end, and give it the bytes of the file it asks for."""
    try:
        # This comes before the opening, since to open a FIFO waits for its other end.
        if os.path.exists(path) and not os.path.isfile(path):
            raise MediumError(f"{path} is not a regular file")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            with Progress(f"checking {path}", lambda: size) as progress:
                return finish(drive(begin(size), _Bytes(file), Here(), progress.update))
    except OSError as error:
        if isinstance(error, MediumError):
            raise
        raise MediumError(f"cannot read {path}: {error.strerror or error}") from error


class _Bytes:
    """The bytes of an open file, read as those of a medium are."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)
