"""The file in which a benchmark leaves its figures as JSON.

Owns the check that it can be written, before minutes are spent on what goes in, and the writing. Must never know the
figures.
"""

import argparse
import json
from pathlib import Path


class ReportFile:
    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def parse(cls, text: str) -> "ReportFile":
        path = Path(text)
        if path.is_dir() or not path.parent.is_dir():
            raise argparse.ArgumentTypeError(f"{text!r} is a folder, or lies in a folder that does not exist")
        return cls(path)

    def write(self, figures: object) -> None:
        self._path.write_text(json.dumps(figures, indent=2) + "\n")
