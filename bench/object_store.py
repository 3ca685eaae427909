"""moto's S3 as a program that does one request at a time: `python bench/object_store.py PORT`.

moto looks if a condition holds, and then stores: two requests that do so at once may both succeed, which no real store allows.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple


class OneAtATime:
    """A WSGI application that calls another one for one request after the other."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environment: Any, start_response: Any) -> Iterable[bytes]:
        with self._lock:
            return list(self._application(environment, start_response))


def main() -> None:
    """Serve on this port of 127.0.0.1 until the process ends."""
    port = int(sys.argv[1])
    os.environ["MOTO_PORT"] = f"{port}"
    application = OneAtATime(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", port, application, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main()
