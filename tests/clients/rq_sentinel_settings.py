"""The settings by which `rq worker --config` finds the primary: each port of `SENTINELS=PORT,PORT` answers as a Sentinel."""

from __future__ import annotations

import os
from typing import Any

SENTINEL: dict[str, Any] = {
    "INSTANCES": [("127.0.0.1", int(port)) for port in os.environ["SENTINELS"].split(",")],
    "MASTER_NAME": "kv",
    "DB": 0,
}
