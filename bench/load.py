"""A networked load generator: many connections, pipelines, a mix of commands, percentiles.

Owns the command line of one load and the printing of its result. Must never run without a bound in count and time,
and must never reach another machine.
"""

import argparse
import asyncio
import dataclasses
import ipaddress
import json
import sys
from collections.abc import Callable

from bench.closed_loop import MAX_REQUESTS, POOL_BYTES, Load, LoadPlan, LoadResult
from bench.dataset import Dataset
from bench.failure import BenchFailed
from bench.table import render_table

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    import uvloop

    new_event_loop = uvloop.new_event_loop
except ImportError:
    new_event_loop = asyncio.new_event_loop

COMMANDS = ("ping", "set", "get")
DEFAULT_SECONDS = 5.0
MAX_SECONDS = 3600.0
MAX_KEY_BYTES = 1 << 16


def parse_mix(text: str) -> dict[str, int]:
    mix: dict[str, int] = {}
    for part in text.split(","):
        name, _, weight = part.strip().lower().partition(":")
        if name not in COMMANDS or name in mix or not (weight or "1").isdecimal():
            raise argparse.ArgumentTypeError(f"{part!r}: a mix is COMMAND:WEIGHT,… of {', '.join(COMMANDS)}")
        mix[name] = int(weight or "1")
    if not any(mix.values()):
        raise argparse.ArgumentTypeError("a mix needs a weight above zero")
    return mix


def parse_loopback(text: str) -> str:
    try:
        is_loopback = text == "localhost" or ipaddress.ip_address(text).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise argparse.ArgumentTypeError(f"{text!r} is not a loopback address: a load is only sent to this machine")
    return text


def parse_arguments() -> tuple[LoadPlan, bool]:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description="Load a Redis-compatible server.")
    parser.add_argument("--host", type=parse_loopback, default="127.0.0.1")
    parser.add_argument("--port", type=int, default=6379)
    parser.add_argument("--clients", type=int, default=50, help="connections (default %(default)s)")
    parser.add_argument("--pipeline", type=int, default=1, help="commands in a batch (default %(default)s)")
    parser.add_argument("--requests", type=int, help="stop after this many commands")
    parser.add_argument("--seconds", type=float, help="stop after this time (default 5, with --requests 60)")
    parser.add_argument("--value-bytes", type=int, default=64)
    parser.add_argument("--key-bytes", type=int, default=Dataset(1).key_bytes)
    parser.add_argument("--keys", type=int, default=100_000, help="different keys (default %(default)s)")
    parser.add_argument("--mix", type=parse_mix, default={"set": 1, "get": 1}, help="default set:1,get:1")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    seconds = options.seconds or (60.0 if options.requests else DEFAULT_SECONDS)
    if not 0 < seconds <= MAX_SECONDS:
        parser.error(f"--seconds must be above 0 and at most {MAX_SECONDS:.0f}")
    if options.requests is not None and not 0 < options.requests <= MAX_REQUESTS:
        parser.error(f"--requests must be between 1 and {MAX_REQUESTS}")
    if not 0 < options.clients <= 10_000 or not 0 < options.pipeline <= 10_000:
        parser.error("--clients and --pipeline must be between 1 and 10000")
    if options.key_bytes > MAX_KEY_BYTES or options.value_bytes > POOL_BYTES:
        parser.error("keys and values must fit in the memory of the generator")
    try:
        dataset = Dataset(options.keys, options.value_bytes, options.key_bytes)
    except ValueError as error:
        parser.error(str(error))
    plan = LoadPlan(
        options.host,
        options.port,
        options.clients,
        options.pipeline,
        options.requests,
        seconds,
        dataset,
        options.mix,
    )
    return plan, options.json


async def run_load(plan: LoadPlan) -> LoadResult:
    return await Load(plan).run()


def print_result(result: LoadResult) -> None:
    latency = result.latency
    print(f"{result.commands} commands in {result.elapsed_s:.2f} s, {result.errors} errors")
    print(
        render_table(
            ("commands/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"),
            [
                (
                    f"{result.commands_per_s:.0f}",
                    f"{latency.p50_ms:.3f}",
                    f"{latency.p90_ms:.3f}",
                    f"{latency.p99_ms:.3f}",
                    f"{latency.p999_ms:.3f}",
                    f"{latency.max_ms:.3f}",
                )
            ],
        )
    )


def main() -> int:
    plan, as_json = parse_arguments()
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            result = runner.run(run_load(plan))
    except (BenchFailed, OSError) as error:
        print(f"bench.load: {error}", file=sys.stderr)
        return 1
    if as_json:
        print(json.dumps(dataclasses.asdict(result), indent=2))
    else:
        print_result(result)
    if result.errors:
        print(f"bench.load: {result.errors} error replies, first: {result.first_error}", file=sys.stderr)
    return 1 if result.errors else 0


if __name__ == "__main__":
    sys.exit(main())
