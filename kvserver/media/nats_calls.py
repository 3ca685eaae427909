"""What is on its way to NATS, and the thread that waits for it. Nothing here knows a connection, or an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from kvserver.errors import MediumError

if TYPE_CHECKING:
    from nats.aio.msg import Msg

# The time for an answer, in seconds.
ANSWER_S: Final = 2.0
# The status of an answer by a server which says that nobody hears of a subject.
NO_RESPONDERS: Final = "503"


class Call:
    """What is on its way, or listens. It takes its answers in the thread of the event loop, where nothing may wait."""

    # The subject that it is sent to, and that of its answers, once it was sent.
    subject = reply = ""
    # When it was sent, by `time.monotonic`.
    sent_at = 0.0
    # What ends it when there is no answer in time, if somebody has asked for that.
    timer: asyncio.TimerHandle | None = None

    def take(self, message: Msg) -> bool:
        """Take an answer. True: it was the last one."""
        raise NotImplementedError

    def fail(self, error: MediumError) -> None:
        """Take the end of the connection."""
        raise NotImplementedError


class Waiting(Call):
    """A call whose answers a thread waits for: one, or all to the one for which `is_last` is true."""

    def __init__(self, is_last: Callable[[Msg], bool] | None = None) -> None:
        self._is_last = is_last
        self._answers: list[Msg] = []
        self._error: MediumError | None = None
        # It is held until there is an end to wait for: a future of `concurrent` has some more locks, and takes longer.
        self._end = threading.Lock()
        self._end.acquire()

    def take(self, message: Msg) -> bool:
        self._answers.append(message)
        if self._is_last is not None and not self._is_last(message):
            return False
        self._end.release()
        return True

    def fail(self, error: MediumError) -> None:
        self._error = error
        self._end.release()

    def answers(self, wait_s: float) -> list[Msg] | None:
        """The answers, or None if they don't come within this time. It may be asked for once. Unknown; MediumError."""
        if not self._end.acquire(timeout=wait_s):
            return None
        if self._error is not None:
            raise self._error
        return self._answers


class Calls:
    """The calls that are on their way, by the subjects of their answers."""

    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Call) -> None:
        self._calls[call.reply] = call

    def drop(self, call: Call) -> bool:
        """Answers to this call are of no use any more. False: it is not on its way."""
        if call.timer:
            call.timer.cancel()
        return self._calls.pop(call.reply, None) is not None

    def take(self, message: Msg) -> None:
        """Give an answer to its call."""
        call = self._calls.get(message.subject)
        if call is not None and call.take(message):
            self.drop(call)

    def fail(self, error: MediumError, subject: str = "") -> int:
        """End all calls, or those that use this subject, given in lower case. Return how many there were."""
        calls = [call for call in self._calls.values() if not subject or subject in (call.subject.lower(), call.reply.lower())]
        for call in calls:
            self.drop(call)
            call.fail(error)
        return len(calls)


def message_of(subject: str, reply: str, data: bytes, headers: Mapping[str, str] | None, most: int) -> bytes:
    """A message as it goes over the wire. MediumError if the headers and the data have more than `most` bytes."""
    if headers:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        head = f"NATS/1.0\r\n{lines}\r\n".encode()
        size = len(head) + len(data)
        command = f"HPUB {subject} {reply} {len(head)} {size}\r\n".encode()
    else:
        head, size = b"", len(data)
        command = f"PUB {subject} {reply} {size}\r\n".encode()
    if size > most:
        raise MediumError(f"NATS does not take {size} bytes at once: its max_payload is {most}")
    return b"%b%b%b\r\n" % (command, head, data)


def is_unheard(message: Msg) -> bool:
    """True for the word of a server that nobody hears of a subject."""
    return not message.data and (message.headers or {}).get("Status") == NO_RESPONDERS


def parsed(message: Msg) -> dict[str, Any]:
    """The JSON object in an answer. MediumError for one that is none, or says that nobody is there to answer."""
    if is_unheard(message):
        raise MediumError("nobody answers in NATS now: JetStream is off, or what it is about has no leader")
    try:
        answer = orjson.loads(message.data)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise MediumError(f"NATS answers what is no JSON object: {message.data[:100]!r}")
    return answer


def ends_batch(message: Msg) -> bool:
    """True for the word behind the messages of a batch, and for one that says that there are none."""
    return not message.data and "Status" in (message.headers or {})


def must_be_done(answer: Mapping[str, Any]) -> None:
    """MediumError if an answer of JetStream's is an error."""
    if "error" in answer:
        error = answer["error"]
        raise MediumError(f"NATS refuses: {error.get('description', '')} ({error.get('err_code', error.get('code'))})")
