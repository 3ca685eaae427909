"""One line on a terminal that says how far a long benchmark is.

Owns that line on standard error. Must never write where standard error is no terminal, nor while a latency is measured.
"""

import sys

ERASE_LINE = "\r\x1b[K"


class Progress:
    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._done = 0

    def step(self, what: str) -> None:
        self._done += 1
        self._show(f"[{self._done}/{self._steps}] {what}")

    def clear(self) -> None:
        self._show("")

    def _show(self, text: str) -> None:
        if sys.stderr.isatty():
            print(ERASE_LINE + text, end="", file=sys.stderr, flush=True)
