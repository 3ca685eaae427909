"""`kvserver check` and `kvserver compact`: what is in a medium's file, told and tidied offline, without a server."""

from __future__ import annotations

import os
from collections.abc import Callable

from kvserver.errors import MediumError
from kvserver.media.file import FileMedium
from kvserver.progress import Progress
from kvserver.scan import Scan, Tail, scan
from kvserver.store import repair
from kvserver.tags import TAGGED

Print = Callable[[str], None]


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
    kind = "torn" if result.tail is Tail.TORN else "DAMAGED"
    print_line(f"{kind}: {result.tail_length} bytes at offset {result.valid_length}: {result.reason}")
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
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # asked first: opening a FIFO waits for its other end
            raise MediumError(f"{path} is not a regular file")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            steps = scan(size, TAGGED, load=False)
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
                    result: Scan = stop.value
                    return result
    except OSError as error:
        if isinstance(error, MediumError):
            raise
        raise MediumError(f"cannot read {path}: {error.strerror or error}") from error
