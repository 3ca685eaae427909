"""Folders with a history that was written by hand, and what is read of them."""

from __future__ import annotations

from pathlib import Path

from kvserver.cli.past import payload_of
from kvserver.formats.frame import encode_frame
from kvserver.formats.record import encode_link, encode_loss, encode_records, pack
from kvserver.library.past import PastFolder
from kvserver.resp.request import Request

NAME = "dump.kvs"


class WrittenHistory:
    """The history of the medium `dump.kvs` in a folder. Times are Unix milliseconds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.medium = folder / NAME
        self.path = folder / f"{NAME}.history"
        self.path.mkdir()

    def frame(self, number: int, time_ms: int, payload: bytes = b"{}", keys: int = 0) -> Path:
        """Add the frame that a segment begins behind."""
        path = self.path / f"{number:010d}-{time_ms}-{keys}.kvs"
        path.write_bytes(encode_frame(payload))
        return path

    def segment(self, number: int, *records: tuple[int, list[Request]], linked: str = "", is_live: bool = False) -> Path:
        """Add a segment with these records, each a time and its commands, behind a link to a frame if one is named."""
        name = f"{number:010d}.journal"
        path = self.folder / f"{NAME}.{name}" if is_live else self.path / name
        link = encode_link(linked, records[0][0] if records else 0) if linked else b""
        path.write_bytes(link + b"".join(encode_records([pack(commands)], [time_ms]) for time_ms, commands in records))
        return path

    def lose(self, segment: Path, time_ms: int) -> None:
        """Let a start at this time have cut something off the segment."""
        with segment.open("ab") as file:
            file.write(encode_loss(time_ms))

    def read(self) -> PastFolder:
        return PastFolder(str(self.folder), NAME)

    def at(self, moment: str | int) -> str:
        """The data of a moment, as JSON."""
        return b"".join(payload_of(self.read().at(str(moment)).databases)).decode()


def put(key: str, value: str) -> Request:
    return [b"SET", key.encode(), value.encode()]
