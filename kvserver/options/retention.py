"""How long the history of the data is kept: by the number of frames, or by their age."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_UNIT_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TEXT: Final = re.compile(r"([1-9][0-9]{0,8})([smhd]?)")
NONE_TEXT: Final = "0"


class Retention(NamedTuple):
    """The last so many frames, or those of so many milliseconds; nothing if both are 0. `text` is how it was said."""

    text: str
    frames: int
    age_ms: int

    @property
    def is_any(self) -> bool:
        """True if a history is to be kept."""
        return bool(self.frames or self.age_ms)


NO_RETENTION: Final = Retention(NONE_TEXT, 0, 0)


def parse_retention(text: str) -> Retention:
    """The retention that a text such as `7d` or `100` means. ValueError if it means none."""
    if text == NONE_TEXT:
        return NO_RETENTION
    match = _TEXT.fullmatch(text.lower())
    if match is None:
        raise ValueError("argument must be a number of frames, or an age such as 12h or 7d; 0 for none")
    number = int(match[1])
    unit_ms = _UNIT_MS.get(match[2], 0)
    return Retention(text.lower(), 0 if unit_ms else number, number * unit_ms)
