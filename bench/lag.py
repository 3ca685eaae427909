"""How long a standby takes to show what the primary has acknowledged: measured by a process of its own, beside a load.

Owns the probes: a SET at the primary, and GETs at the standby from its reply on until the value is there. What is between two
GETs is part of the lag, some 0.1 ms. Must never be in the process that makes the load, which would have it wait.
"""

import argparse
import json
import time

from bench.control import Control

KEY = "bench:lag"
# A lag beyond this ends the probes.
DEADLINE_S = 10.0
PAUSE_S = 0.005


def measure_lags(primary_port: int, standby_port: int, seconds: float) -> list[float]:
    """The lags (s) of probes, one behind the other, for so many seconds. TimeoutError if one is beyond the deadline."""
    lags_s = []
    with Control(primary_port) as primary, Control(standby_port) as standby:
        ends_at = time.perf_counter() + seconds
        number = 0
        while time.perf_counter() < ends_at:
            number += 1
            primary.call("SET", KEY, number)
            acknowledged_at = time.perf_counter()
            while standby.call("GET", KEY) != b"%d" % number:
                if time.perf_counter() - acknowledged_at > DEADLINE_S:
                    raise TimeoutError(f"the standby did not show it within {DEADLINE_S:g} s")
            lags_s.append(time.perf_counter() - acknowledged_at)
            time.sleep(PAUSE_S)
    return lags_s


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.lag", description=(__doc__ or "").splitlines()[0])
    for name in ("primary", "standby"):
        parser.add_argument(f"--{name}", type=int, required=True, metavar="PORT")
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    print(json.dumps(measure_lags(options.primary, options.standby, options.seconds)))


if __name__ == "__main__":
    main()
