"""Programs of other people's packages as processes that a test talks to."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from helpers.installs import PROGRAM_TIMEOUT_S


@contextmanager
def program(*command: str | Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A program that ends within the time for programs, or is interrupted then."""
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        timer = threading.Timer(PROGRAM_TIMEOUT_S, process.send_signal, [signal.SIGINT])
        timer.start()
        try:
            yield process
        finally:
            timer.cancel()
            process.kill()
