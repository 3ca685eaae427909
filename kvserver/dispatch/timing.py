"""Handlers whose time is taken: durations are noted among the usages, slow calls in the slow log and among the latencies.

Commands that do a bounded amount of work run unwrapped, so that the hot path pays nothing. They are wrapped for a sample
now and then (`begin_sample`), and for good while SLOWLOG or LATENCY want to know of times that such commands may take.
The time of an effect is part of its command's: `engine.results`, which carries it out, calls `took` when it is done. Pure:
the clock is passed in. This module never refuses a call, and never changes what a handler returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kvserver.dispatch.command import Command, Handler
from kvserver.dispatch.effect import EFFECTS, Effect, Postpone
from kvserver.errors import Refusal
from kvserver.options.config import Config
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.description import ANY_NUMBER
from kvserver.state.session import SCRIPT_ID, Session
from kvserver.state.usage import Usage, Usages

# So many commands are measured after each `begin_sample`.
SAMPLE_COMMANDS: Final = 64
NEVER_NS: Final = 2**63
# No command that does a bounded amount of work takes longer by itself.
BOUNDED_NS: Final = 1_000_000

# The time when a call began (nanoseconds of the clock), and the usage of its command.
Begun = tuple[int, Usage]


def slow_from_ns(config: Config) -> int:
    """The duration in nanoseconds from which on `note_slow` is to be told of a call; NEVER_NS if of none."""
    thresholds_ns = [NEVER_NS]
    if config.slowlog_log_slower_than >= 0 and config.slowlog_max_len:
        thresholds_ns.append(config.slowlog_log_slower_than * 1000)
    if config.latency_monitor_threshold:
        thresholds_ns.append(config.latency_monitor_threshold * 1_000_000)
    return min(thresholds_ns)


def note_slow(session: Session, request: Request, duration_ns: int) -> None:
    """Note a call that took so long in the slow log and among the latencies, as far as the options ask for that."""
    # As in Redis, it is the script that is noted, not its calls.
    if session.id == SCRIPT_ID:
        return
    state = session.server
    config, now_s = state.config, state.now_ms() // 1000
    command = state.commands[request[0].lower()]
    duration_us = duration_ns // 1000
    if 0 <= config.slowlog_log_slower_than <= duration_us and "skip_slowlog" not in command.flags:
        shown = command.redacted(request)
        state.slowlog.add(shown, now_s, duration_us, session.address, session.name, config.slowlog_max_len)
    threshold_ms = config.latency_monitor_threshold
    if threshold_ms and duration_us >= threshold_ms * 1000:
        state.latency.add("fast-command" if "fast" in command.flags else "command", now_s, duration_us // 1000)


class Timing:
    """The times of commands, in nanoseconds of `clock_ns`.

    `on_change` is called when other handlers are to be wrapped than before; `on_slow` when a call took `threshold_ns` or
    longer, with its session, its request and its duration.
    """

    def __init__(self, clock_ns: Callable[[], int], usages: Usages) -> None:
        self.usages = usages
        # All handlers are wrapped now.
        self.is_sampling = True
        self.on_change: Callable[[], None] = lambda: None
        self.threshold_ns = NEVER_NS
        self.on_slow: Callable[[Session, Request, int], None] = lambda session, request, duration_ns: None
        self._clock_ns = clock_ns
        self._left = SAMPLE_COMMANDS
        # The call whose effect is to be carried out now.
        self._begun: Begun | None = None

    def begin_sample(self) -> None:
        """Measure all of the next SAMPLE_COMMANDS commands. The server calls this some times a second."""
        self._left = SAMPLE_COMMANDS
        self._wrap_all(True)

    def watch_from(self, threshold_ns: int) -> None:
        """Tell `on_slow` of calls that take that long or longer."""
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
        """The beginning of the call whose effect is to be carried out now, for `took`; None if its time is not taken."""
        begun, self._begun = self._begun, None
        return begun

    def took(self, session: Session, request: Request, begun: Begun) -> None:
        """Note that a call is done now, and with it the effect that its handler has asked for."""
        started_ns, usage = begun
        self._note(usage, session, request, self._clock_ns() - started_ns)

    def _note(self, usage: Usage, session: Session, request: Request, duration_ns: int) -> None:
        usage.durations_ns.append(duration_ns)
        if duration_ns >= self.threshold_ns:
            self.on_slow(session, request, duration_ns)

    # Wrapping

    def wrap(self, command: Command) -> tuple[Handler, Handler]:
        """The handlers that run a command usually, and while everything is measured."""
        if command.subcommands:
            handler = self._time_container(command.run)
            return handler, handler
        usage = self.usages.by_name[command.name.encode()]
        bounded_below = command.bounded_below
        if not bounded_below:
            handler = self._time(command.entrance, usage)
            return handler, handler
        sampled = self._sample(command.handler, usage)
        if bounded_below >= ANY_NUMBER:
            return command.handler, sampled
        return _guard(command.handler, sampled, bounded_below), sampled

    def _time(self, handler: Handler, usage: Usage) -> Handler:
        clock_ns = self._clock_ns

        def run(session: Session, request: Request) -> Reply | Effect:
            started_ns = clock_ns()
            try:
                result = handler(session, request)
            # The command did not run.
            except Refusal:
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
        """A handler that takes the time of a container's calls: the container finds out which subcommand a call means."""
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
            if usage and not isinstance(result, Postpone):
                usage.calls += 1
                if type(result) in EFFECTS:
                    self._begun = started_ns, usage
                else:
                    self._note(usage, session, request, clock_ns() - started_ns)
            return result

        return run


def _guard(handler: Handler, sampled: Handler, bounded_below: int) -> Handler:
    """A handler that measures the calls of so many words or more, and no others."""

    def run(session: Session, request: Request) -> Reply | Effect:
        return handler(session, request) if len(request) < bounded_below else sampled(session, request)

    return run
