"""LATENCY: the events that took long, and the distribution of the times that each command takes.

The times are taken elsewhere (`dispatch.timing`, `state.usage`); they are only told and forgotten here.
"""

from __future__ import annotations

from kvserver.dispatch.command import command, container, help_lines
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply, Verbatim
from kvserver.resp.request import Request
from kvserver.state.latency import Series, graph
from kvserver.state.session import Session

DISABLED = (
    "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Redis instance. You may use \"CONFIG SET "
    "latency-monitor-threshold <milliseconds>.\" in order to enable it. If we weren't in a deep space mission I'd suggest "
    "to take a look at https://redis.io/topics/latency-monitor.\n"
)
NOTHING = (
    "Dave, no latency spike was observed during the lifetime of this Redis instance, not in the slightest bit. I "
    "honestly think you ought to sit down calmly, take a stress pill, and think things over.\n"
)
ADVICE = {
    "command": "Look at SLOWLOG GET for commands that are too slow: those with many keys, and KEYS, take time in proportion.",
    "fast-command": "Fast commands were slow: the machine has other work to do, or swaps. Look at its load and its memory.",
}


def _series(session: Session, event: bytes) -> Series | None:
    return session.server.latency.series.get(event.decode("utf-8", "replace"))


latency = container("latency",
                    since="2.8.13", group="server",
                    summary="A container for latency diagnostics commands")  # fmt: skip


@command("latency|latest", "", "admin noscript loading stale",
         since="2.8.13", group="server", complexity="O(1)",
         tips="nondeterministic_output request_policy:all_nodes response_policy:special",
         summary="Return the latest latency samples for all events.")  # fmt: skip
def latency_latest(session: Session, request: Request) -> Reply:
    return [
        [event.encode(), series.samples[-1].at_s, series.samples[-1].duration_ms, series.longest_ms]
        for event, series in session.server.latency.series.items()
    ]


@command("latency|history", "event", "admin noscript loading stale",
         since="2.8.13", group="server", complexity="O(1)",
         tips="nondeterministic_output request_policy:all_nodes response_policy:special",
         summary="Return timestamp-latency samples for the event.")  # fmt: skip
def latency_history(session: Session, request: Request) -> Reply:
    series = _series(session, request[2])
    return [[sample.at_s, sample.duration_ms] for sample in series.samples] if series else []


@command("latency|reset", "event?+", "admin noscript loading stale",
         since="2.8.13", group="server", complexity="O(1)", tips="request_policy:all_nodes response_policy:all_succeeded",
         summary="Reset latency data for one or more events.")  # fmt: skip
def latency_reset(session: Session, request: Request) -> Reply:
    return session.server.latency.reset([event.decode("utf-8", "replace") for event in request[2:]])


@command("latency|graph", "event", "admin noscript loading stale",
         since="2.8.13", group="server", complexity="O(1)",
         tips="nondeterministic_output request_policy:all_nodes response_policy:special",
         summary="Return a latency graph for the event.")  # fmt: skip
def latency_graph(session: Session, request: Request) -> Reply:
    series = _series(session, request[2])
    if series is None:
        raise CommandError(f"ERR No samples available for event '{request[2].decode('utf-8', 'surrogateescape')}'")
    event = request[2].decode("utf-8", "replace")
    return Verbatim(graph(event, series, session.server.now_ms() // 1000).encode())


@command("latency|doctor", "", "admin noscript loading stale",
         since="2.8.13", group="server", complexity="O(1)",
         tips="nondeterministic_output request_policy:all_nodes response_policy:special",
         summary="Return a human readable latency analysis report.")  # fmt: skip
def latency_doctor(session: Session, request: Request) -> Reply:
    state = session.server
    if not state.config.latency_monitor_threshold:
        return Verbatim(DISABLED.encode())
    if not state.latency.series:
        return Verbatim(NOTHING.encode())
    lines = [
        "Dave, I have observed latency spikes in this Redis instance. You don't mind talking about it, do you Dave?",
        "",
    ]
    for number, (event, series) in enumerate(state.latency.series.items(), 1):
        durations_ms = [sample.duration_ms for sample in series.samples]
        average_ms = sum(durations_ms) // len(durations_ms)
        deviation_ms = sum(abs(duration_ms - average_ms) for duration_ms in durations_ms) // len(durations_ms)
        span_s = max(state.now_ms() // 1000 - series.samples[0].at_s, 1)
        lines.append(
            f"{number}. {event}: {len(durations_ms)} latency spikes (average {average_ms}ms, mean deviation {deviation_ms}ms, "
            f"period {span_s / len(durations_ms):.2f} sec). Worst all time event {series.longest_ms}ms."
        )
    lines += ["", "I have a few advices for you:", ""]
    threshold_us = state.config.latency_monitor_threshold * 1000
    slower_than_us = state.config.slowlog_log_slower_than
    if slower_than_us < 0:
        lines.append(f"- Your Slow Log is disabled. Please use 'CONFIG SET slowlog-log-slower-than {threshold_us}'.")
    elif slower_than_us > threshold_us:
        lines.append(
            "- Your current Slow Log configuration only logs events that are slower than your configured latency monitor "
            f"threshold. Please use 'CONFIG SET slowlog-log-slower-than {threshold_us}'."
        )
    lines += [f"- {ADVICE[event]}" for event in state.latency.series if event in ADVICE]
    return Verbatim(("\n".join(lines) + "\n").encode())


@command("latency|histogram", "command?+", "admin noscript loading stale",
         since="7.0.0", group="server",
         complexity="O(N) where N is the number of commands with latency information being retrieved.",
         tips="nondeterministic_output request_policy:all_nodes response_policy:special",
         summary="Return the cumulative distribution of latencies of a subset of commands or all.")  # fmt: skip
def latency_histogram(session: Session, request: Request) -> Reply:
    usages = session.server.usages
    usages.fold_all()
    rows = session.server.commands
    names: list[bytes] = []
    for word in request[2:] or list(rows):
        name = word.lower()
        row = rows.get(name)
        names += [name, *(subcommand.name.encode() for subcommand in row.subcommands.values())] if row else [name]
    found: dict[Reply, Reply] = {}
    for name in names if session.server.config.latency_tracking else ():
        usage = usages.by_name.get(name)
        if usage and usage.calls and usage.histogram:
            found[name] = {b"calls": usage.calls, b"histogram_usec": dict(usage.distribution().items())}
    return found


HELP = """DOCTOR
    Return a human readable latency analysis report.
GRAPH <event>
    Return an ASCII latency graph for the <event> class.
HISTORY <event>
    Return time-latency samples for the <event> class.
LATEST
    Return the latest latency samples for all events.
RESET [<event> ...]
    Reset latency data of one or more <event> classes.
    (default: reset all data for all event classes)
HISTOGRAM [COMMAND ...]
    Return a cumulative distribution of latencies in the format of a histogram for the specified command names.
    If no commands are specified then all histograms are replied."""


@command("latency|help", "", "loading stale",
         since="2.8.13", group="server", complexity="O(1)",
         summary="Show helpful text about the different subcommands.")  # fmt: skip
def latency_help(session: Session, request: Request) -> Reply:
    return help_lines("LATENCY", HELP)
