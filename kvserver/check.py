"""`kvserver check` and `kvserver compact`: what is in the files of a server, told and tidied offline, without one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from kvserver.errors import MediumError
from kvserver.formats.chain import Chain
from kvserver.formats.record import EMPTY_STORE, Record, RecordInvalid, SegmentScan, Steps, read_records, scan_segment
from kvserver.formats.scan import Scan, Tail, scan
from kvserver.formats.tags import TAGGED
from kvserver.media.file import FileMedium
from kvserver.media.segments import Segments
from kvserver.persistence.repair import repair
from kvserver.progress import Progress

Print = Callable[[str], None]
T = TypeVar("T")

SEGMENT_SUFFIX = ".journal"


def check(path: str, dbfilename: str, print_line: Print) -> bool:
    """Tell what is in a folder of data, a medium's file or a segment of a journal; whether all is well."""
    if os.path.isdir(path):
        return check_folder(os.path.join(path, dbfilename), print_line)
    if path.endswith(SEGMENT_SUFFIX):
        return check_segment(path, print_line).tail is Tail.NONE
    return check_file(path, print_line)


def check_folder(medium_path: str, print_line: Print) -> bool:
    """Print what is in a medium and in the segments beside it, and what a start would do with them."""
    is_well = not os.path.exists(medium_path) or check_file(medium_path, print_line)
    frames = _scan_file(medium_path).frames if os.path.exists(medium_path) else []
    segments = Segments(medium_path)
    chain = Chain({number: check_segment(segments.path(number), print_line) for number in segments.numbers()})
    if not chain.scans:
        if not os.path.exists(medium_path):
            raise MediumError(f"there is no {medium_path}, and no journal beside it")
        return is_well
    loaded = next((frame for frame in reversed(frames) if frame.digest == chain.digest), None)
    if chain.is_linked and chain.digest != EMPTY_STORE and not loaded:
        print_line(f"DAMAGED: the journal goes on from the snapshot {chain.digest[:16]}…, which is not in the medium")
        is_well = False
    if chain.digest != EMPTY_STORE:
        loaded = loaded or (frames[-1] if frames else None)
    base = f"load the frame at offset {loaded.offset}" if loaded else "begin with an empty store"
    if chain.replayed:
        print_line(f"a start would {base} and replay the segments {chain.replayed[0]} to {chain.replayed[-1]}")
    else:
        print_line(f"a start would {base} and replay nothing")
    if chain.superfluous:
        print_line(f"a start would remove the segments that are older: {_list(chain.superfluous)}")
    if chain.lost_something:
        print_line(f"DAMAGED: {chain.reason}; a start would set aside what is behind, segments: {_list(chain.behind)}")
    return is_well and not chain.reason


def check_segment(path: str, print_line: Print) -> SegmentScan:
    """Print what is in a segment."""
    result: SegmentScan = _run_on_file(path, scan_segment)
    commands = 0

    def count(record: Record) -> tuple[()]:
        nonlocal commands
        commands += len(record.commands)
        return ()

    try:
        _run_on_file(path, lambda _: read_records(result.valid_length, count))
    except RecordInvalid as invalid:
        result.valid_length, result.tail, result.reason = invalid.offset, Tail.DAMAGED, str(invalid)
    print_line(f"{path}: {result.size} bytes, {result.records} valid frames, {commands} commands")
    for link in result.links:
        print_line(f"link at offset {link.offset}: goes on from {_name(link.digest)}")
    if result.tail is not Tail.NONE:
        print_line(f"{_kind(result.tail)}: {result.tail_length} bytes at offset {result.valid_length}: {result.reason}")
    return result


def _name(digest: str) -> str:
    return "the empty store" if digest == EMPTY_STORE else f"the snapshot {digest[:16]}…"


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def _kind(tail: Tail) -> str:
    return "torn" if tail is Tail.TORN else "DAMAGED"


def check_file(path: str, print_line: Print) -> bool:
    """Print each frame's offset, length and state, and what lies behind the last valid one; whether all is well.

    Only reads, and takes no lock, so that it can look at the file of a running server; then a frame that is being
    written shows as a torn tail. MediumError if the file can't be read.
    """
    result = _scan_file(path)
    print_line(f"{path}: {result.size} bytes")
    for number, frame in enumerate(result.frames, 1):
        print_line(
            f"frame {number}: offset {frame.offset}, length {frame.end - frame.offset} (payload {frame.payload_length}), "
            f"checksum ok ({frame.digest[:16]}…), {frame.member_count} keys"
        )
    if result.tail is Tail.NONE:
        print_line(f"{len(result.frames)} valid frames, nothing behind them")
        return True
    print_line(f"{_kind(result.tail)}: {result.tail_length} bytes at offset {result.valid_length}: {result.reason}")
    loaded = f"the frame at offset {result.frames[-1].offset}" if result.frames else "nothing: no frame is valid"
    print_line(f"{len(result.frames)} valid frames; a start would load {loaded}")
    return False


def compact_file(path: str, keep_frames: int, print_line: Print) -> None:
    """Keep the last frames of a file that no server uses. MediumError if that fails: then the file is as it was."""
    if not os.path.isfile(path):
        raise MediumError(f"{path} is not a file")
    with FileMedium(path) as medium:
        result = _scan_file(path)
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


def _scan_file(path: str) -> Scan:
    return _run_on_file(path, lambda size: scan(size, TAGGED, load=False))


def _run_on_file(path: str, begin: Callable[[int], Steps[T]]) -> T:
    """Run a generator that asks for bytes, and begins with a file's size, to its end."""
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # asked first: opening a FIFO waits for its other end
            raise MediumError(f"{path} is not a regular file")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            steps = begin(size)
            answer = b""
            with Progress(f"checking {path}", lambda: size) as progress:
                try:
                    request = next(steps)
                    while True:
                        if request is not None:
                            file.seek(request.offset)
                            answer = file.read(request.length)
                            if request.hasher:
                                request.hasher.update(answer)
                            progress.update(request.offset)
                        request = steps.send(answer)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
    except OSError as error:
        if isinstance(error, MediumError):
            raise
        raise MediumError(f"cannot read {path}: {error.strerror or error}") from error
