"""Takes the time of commands: wraps their handlers, notes durations among the usages, and tells whoever asked what was slow.

Commands that do a bounded amount of work run unwrapped, so that the hot path pays nothing. They are wrapped for a sample
now and then (`begin_sample`), and for good while SLOWLOG or LATENCY want to know of times that such commands may take.
An effect's time is part of its command's: whoever carries it out says when that is done (`took`). The clock is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kvserver.dispatch.command import Command, Handler
from kvserver.dispatch.effect import EFFECTS, Effect
from kvserver.errors import Refusal
from kvserver.options.config import Config
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.state.usage import Usage, Usages

SAMPLE_COMMANDS: Final = 64  # measured after each `begin_sample`
MANY_ARGUMENTS: Final = 100  # from which on a command with any number of keys is one that may take long
NEVER_NS: Final = 2**63
BOUNDED_NS: Final = 1_000_000  # no command that does a bounded amount of work takes longer by itself

Begun = tuple[int, Usage]  # when a command began, and whose time it is


def slow_from_ns(config: Config) -> int:
    """From how many nanoseconds on `note_slow` wants to know of a command."""
    thresholds_ns = [NEVER_NS]
    if config.slowlog_log_slower_than >= 0 and config.slowlog_max_len:
        thresholds_ns.append(config.slowlog_log_slower_than * 1000)
    if config.latency_monitor_threshold:
        thresholds_ns.append(config.latency_monitor_threshold * 1_000_000)
    return min(thresholds_ns)


def note_slow(session: Session, request: Request, duration_ns: int) -> None:
    """Note a command that took so long in the slow log, if it is for that, and among the latencies."""
    state = session.server
    config, now_s = state.config, state.now_ms() // 1000
    row = state.commands[request[0].lower()]
    duration_us = duration_ns // 1000
    if 0 <= config.slowlog_log_slower_than <= duration_us and "skip_slowlog" not in row.flags:
        state.slowlog.add(row.redacted(request), now_s, duration_us, session.address, session.name, config.slowlog_max_len)
    threshold_ms = config.latency_monitor_threshold
    if threshold_ms and duration_us >= threshold_ms * 1000:
        state.latency.add("fast-command" if "fast" in row.flags else "command", now_s, duration_us // 1000)


class Timing:
    """Times of commands, in nanoseconds of `clock_ns`. `on_change` is called when others are to be wrapped than before."""

    def __init__(self, clock_ns: Callable[[], int], usages: Usages) -> None:
        self.usages = usages
        self.is_sampling = True  # everything is wrapped
        self.on_change: Callable[[], None] = lambda: None
        # What to do with a command that took `threshold_ns` or longer.
        self.threshold_ns = NEVER_NS
        self.on_slow: Callable[[Session, list[bytes], int], None] = lambda session, args, duration_ns: None
        self._clock_ns = clock_ns
        self._left = SAMPLE_COMMANDS
        self._begun: Begun | None = None  # by the command whose effect is to be carried out now

    def begin_sample(self) -> None:
        """Measure all of the next commands; to be called some times a second."""
        self._left = SAMPLE_COMMANDS
        self._wrap_all(True)

    def watch_from(self, threshold_ns: int) -> None:
        """Tell `on_slow` of what takes that long or longer."""
        self.threshold_ns = threshold_ns
        self.begin_sample()

    def _end_sample(self) -> None:
        self._wrap_all(self.threshold_ns < BOUNDED_NS)

    def _wrap_all(self, wrap: bool) -> None:
        if self.is_sampling != wrap:
            self.is_sampling = wrap
            self.on_change()

    # Effects

    def take_begun(self) -> Begun | None:
        """For whoever carries out the effect that a handler has just returned: what `took` is to be told; None: nothing."""
        begun, self._begun = self._begun, None
        return begun

    def took(self, session: Session, request: Request, begun: Begun) -> None:
        """Note that a command is done now, and with it what its handler has asked for."""
        started_ns, usage = begun
        self._note(usage, session, request, self._clock_ns() - started_ns)

    def _note(self, usage: Usage, session: Session, request: Request, duration_ns: int) -> None:
        usage.durations_ns.append(duration_ns)
        if duration_ns >= self.threshold_ns:
            self.on_slow(session, request, duration_ns)

    # Wrapping

    def wrap(self, row: Command) -> tuple[Handler, Handler]:
        """What runs a command usually, and while everything is measured."""
        if row.subcommands:
            handler = self._time_container(row.run)
            return handler, handler
        usage = self.usages.by_name[row.name.encode()]
        if not row.is_bounded:
            handler = self._time(row.entrance, usage)
            return handler, handler
        sampled = self._sample(row.handler, usage)
        return (_guard(row.handler, sampled) if row.keys[1] < 0 else row.handler), sampled

    def _time(self, handler: Handler, usage: Usage) -> Handler:
        clock_ns = self._clock_ns

        def run(session: Session, request: Request) -> Reply | Effect:
            started_ns = clock_ns()
            try:
                result = handler(session, request)
            except Refusal:  # it did not run
                raise
            except Exception:
                self._note(usage, session, request, clock_ns() - started_ns)
                raise
            if type(result) in EFFECTS:
                self._begun = started_ns, usage
                return result
            duration_ns = clock_ns() - started_ns
            usage.durations_ns.append(duration_ns)
            if duration_ns >= self.threshold_ns:
                self.on_slow(session, request, duration_ns)
            return result

        return run

    def _sample(self, handler: Handler, usage: Usage) -> Handler:
        timed = self._time(handler, usage)

        def run(session: Session, request: Request) -> Reply | Effect:
            self._left -= 1
            if not self._left:
                self._end_sample()
            return timed(session, request)

        return run

    def _time_container(self, handler: Handler) -> Handler:
        """Which of its subcommands it is, and whether it runs at all, is the container's to find out."""
        clock_ns = self._clock_ns

        def run(session: Session, request: Request) -> Reply | Effect:
            usage = self.usages.of(request)
            started_ns = clock_ns()
            try:
                result = handler(session, request)
            except Refusal:
                raise
            except Exception:
                if usage:
                    usage.calls += 1
                    self._note(usage, session, request, clock_ns() - started_ns)
                raise
            if usage:
                usage.calls += 1
                if type(result) in EFFECTS:
                    self._begun = started_ns, usage
                else:
                    self._note(usage, session, request, clock_ns() - started_ns)
            return result

        return run


def _guard(handler: Handler, sampled: Handler) -> Handler:
    """Measure calls with many arguments."""

    def run(session: Session, request: Request) -> Reply | Effect:
        return handler(session, request) if len(request) < MANY_ARGUMENTS else sampled(session, request)

    return run
