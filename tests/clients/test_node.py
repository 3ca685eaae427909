"""JavaScript's clients ioredis and node-redis work unmodified, where Node.js is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from clients.packages import JAVASCRIPT
from helpers.installs import Installs, run
from helpers.servers import ServerProcess, kvserver_environment, need_program


@pytest.mark.parametrize("name", ["ioredis", "node_redis", "tracking"])
def test_client_in_javascript_works(kvserver: ServerProcess, installs: Installs, name: str) -> None:
    environment = kvserver_environment() | {"NODE_PATH": str(installs.node(*JAVASCRIPT))}
    program = Path(__file__).with_name(f"{name}_session.cjs")
    print(name, run(need_program("node"), program, str(kvserver.port), environment=environment))
