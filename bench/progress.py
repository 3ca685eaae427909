"""One line on a terminal that says how far a long benchmark is.

Owns that line on standard error. Must never write where standard error is no terminal, nor while a latency is measured.
"""

import sys

ERASE_LINE = "\r\x1b[K"


class Progress:
    def show(self, what: str) -> None:
        if sys.stderr.isatty():
            print(ERASE_LINE + what, end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        self.show("")
