"""A shared log on a stream of NATS JetStream: an entry is a message, and the number of its position is its sequence there.

An append is a publish with `Nats-Expected-Last-Sequence`: the stream takes it only if the last message that it ever had is the
one behind which the entry has to stand. JetStream never uses a sequence again, so no trim lets an old append in. Two things
that look like help are none. The condition on the last message id is no fence: a stream of several nodes hangs for good by it.
And by a message id, which lets the stream know a repetition, a rival would be told that its own entry is there: two nodes that
take over at once have the same epoch and number.

What reads are worth. Only what a quorum has is in the stream of any node, so what is read is durable, whoever answers. But
nothing of JetStream reads the latest state for certain: direct gets are answered by any node, also by one that lags, and even
`STREAM.INFO` and `STREAM.MSG.GET`, which the leader answers, may be answered by one that does not know yet that it leads no
more. So what stands behind a position is asked of the leader, an answer older than what this log has seen itself is not
believed, and nothing rests on the rest: that nothing stands there is only proved by an append that succeeds there. Who settles
an append sends it again where nothing stands; if the first has landed meanwhile, the stream refuses the second.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kvserver.errors import EntryTooLong, LogLost, MediumError, Refused, Trimmed, Unknown
from kvserver.formats.manifest import Position
from kvserver.media.nats_calls import ANSWER_S, Call, Waiting, ends_batch, is_unheard, must_be_done, parsed
from kvserver.media.nats_client import NatsClient
from kvserver.media.nats_entries import MARK_DIGEST, MARK_EPOCH, MARK_NUMBER, entry_of
from kvserver.media.nats_feed import Feed
from kvserver.media.shared import Entry, Mark

if TYPE_CHECKING:
    from nats.aio.msg import Msg

# The condition of an append, as a header.
EXPECTED_LAST: Final = "Nats-Expected-Last-Sequence"
# All headers of an entry take less; the limit of a server for a message is one for both.
HEADERS_BYTES: Final = 512
# No entry is longer than this, whatever the server would take: on a slow line all else stands behind it.
MOST_BYTES: Final = (1 << 20) - HEADERS_BYTES

# So much more time than for any answer there is for each MB: the servers send it to each other.
PER_MB_S: Final = 4.0
# One answer of a read has so many bytes and entries at most, or one entry that is longer.
READ_BYTES: Final = 1 << 20
READ_ENTRIES: Final = 10_000
BATCH_S: Final = 6.0

# A stream that ends before what is known to have been there for so long has lost its end. If that is wrong, it costs a change
# of the primary, and no data.
LOST_S: Final = 4.0
LOST_PAUSE_S: Final = 0.2

# The codes of a stream that is not there, of a refused condition, and of a message that is longer than the stream takes.
NO_STREAM: Final = 10059
WRONG_LAST: Final = 10071
TOO_LONG: Final = 10054

_LAST_SEQUENCE = re.compile(r"wrong last sequence: (\d+)")


class _State(NamedTuple):
    """The first and the last sequence of a stream; the first is behind the last where the stream is empty."""

    first: int
    last: int


class NatsLog:
    """The entries of all writers in one stream."""

    def __init__(self, client: NatsClient, stream: str, subject: str) -> None:
        self._client = client
        self._stream = stream
        self._subject = subject
        # Of three on their way the second may be refused, by a rival's, and the third not: it would stand behind a gap.
        self.most_in_flight = 1
        # The last entry that this log has seen itself, appended or read.
        self._seen = 0
        # The tail of the last reader that waited. Others who read meanwhile have their own.
        self._feed: Feed | None = None
        # What a reader who catches up will ask for next is asked for while it is busy: behind which sequence, and its answers.
        self._ahead: tuple[int, Waiting] | None = None
        self._lock = threading.Lock()

    @property
    def max_append_bytes(self) -> int:
        return max(min(self._client.max_payload - HEADERS_BYTES, MOST_BYTES), 1)

    def append(self, data: bytes, mark: Mark, after: Position) -> Position:
        headers = self._headers(data, mark, after)
        message = self._client.request(self._subject, data, headers, _patience(data))
        if is_unheard(message):
            # It tells if there is none any more.
            self._state()
        return self._outcome(message, mark, after)

    def begin_append(self, data: bytes, mark: Mark, after: Position, done: Callable[[Position | MediumError], None]) -> None:
        call = _Append(lambda message: self._outcome(message, mark, after), done)
        try:
            self._client.start(call, self._subject, data, self._headers(data, mark, after), _patience(data))
        except MediumError as error:
            call.fail(error)

    def _headers(self, data: bytes, mark: Mark, after: Position) -> dict[str, str]:
        """The headers of an entry. EntryTooLong; Refused if it can't be appended at all."""
        if len(data) > self.max_append_bytes:
            raise EntryTooLong(f"an entry of {len(data)} bytes is longer than {self.max_append_bytes}")
        if mark.epoch < after.epoch:
            # The stream does not know epochs. Whoever has seen a later one is fenced by it.
            raise Refused(f"an entry of the epoch {mark.epoch} can't stand behind one of {after.epoch}")
        if self._feed is not None:
            # Who writes does not follow: its own entries would wait there.
            self._keep_feed(None)
        return {
            EXPECTED_LAST: str(after.number),
            MARK_EPOCH: str(mark.epoch),
            MARK_NUMBER: str(mark.number),
            MARK_DIGEST: mark.digest,
        }

    def _outcome(self, message: Msg, mark: Mark, after: Position) -> Position:
        answer = parsed(message)
        if "error" in answer:
            raise refusal(answer["error"], after.number)
        number = int(answer["seq"])
        self._seen = max(self._seen, number)
        return Position(mark.epoch, number)

    def read(self, after: Position, wait_s: float) -> list[Entry]:
        deadline = time.monotonic() + wait_s
        feed = self._take_feed(after.number)
        try:
            if feed is not None and (entries := feed.read(0)):
                return self._saw(entries)
            if feed is None or wait_s <= 0:
                if wait_s > 0:
                    self._client.wait_until_ready(wait_s)
                if entries := self._fetch(after.number):
                    return self._saw(entries)
                if wait_s <= 0:
                    return []
            if feed is None:
                feed = Feed(self._client, self._stream, after.number)
            entries = feed.read(deadline - time.monotonic())
            if not entries and feed.error:
                # It tells if there is no stream any more.
                self._state()
                raise MediumError(feed.error)
            return self._saw(entries)
        finally:
            self._keep_feed(feed)

    def trim(self, upto: Position) -> None:
        # A purge beyond the end would move the end: positions that no entry has had would be left out.
        number = min(upto.number, self._state().last)
        if number > 0:
            answer = self._client.ask(f"$JS.API.STREAM.PURGE.{self._stream}", {"seq": number + 1}, ANSWER_S)
            must_be_done(answer)

    def close(self) -> None:
        self._keep_feed(None)
        self._client.close()

    def _saw(self, entries: list[Entry]) -> list[Entry]:
        if entries:
            self._seen = max(self._seen, entries[-1].position.number)
        return entries

    def _take_feed(self, after: int) -> Feed | None:
        """The feed that is there, if it lives and goes on behind this sequence."""
        with self._lock:
            feed, self._feed = self._feed, None
        if feed is not None and (feed.last != after or feed.is_over):
            feed.close()
            return None
        return feed

    def _keep_feed(self, feed: Feed | None) -> None:
        if feed is not None and feed.is_over:
            feed.close()
            feed = None
        with self._lock:
            feed, self._feed = self._feed, feed
        if feed is not None:
            feed.close()

    def _fetch(self, after: int) -> list[Entry]:
        """The next entries, some MB of them at most; none if the leader says that there are none."""
        with self._lock:
            ahead, self._ahead = self._ahead, None
        waiting = ahead[1] if ahead and ahead[0] == after else self._ask_for_batch(after)
        *messages, _ = self._client.collect(waiting, BATCH_S)
        entries: list[Entry] = []
        for message in messages:
            headers = message.headers or {}
            number = int(headers["Nats-Sequence"])
            # What is missing may have been trimmed, or has not come to us: the leader tells, or the next read.
            if number != after + 1 + len(entries):
                break
            entries.append(entry_of(number, headers, message.data))
        if entries:
            if (messages[-1].headers or {}).get("Nats-Num-Pending", "0") != "0":
                last = entries[-1].position.number
                with self._lock:
                    self._ahead = last, self._ask_for_batch(last)
            return entries
        state = self._state_from(after)
        if state.first > after + 1:
            raise Trimmed(f"the entry {after + 1} is not there any more: the first is {state.first}")
        if state.last > after:
            # Who has answered lags behind the leader.
            return [self._from_leader(after + 1)]
        if self._seen > after:
            raise MediumError(f"the entry {after + 1} can't be read now: the node that leads the stream in NATS lags")
        return []

    def _ask_for_batch(self, after: int) -> Waiting:
        request = {"seq": after + 1, "batch": READ_ENTRIES, "max_bytes": READ_BYTES}
        return self._client.ask_for_many(f"$JS.API.DIRECT.GET.{self._stream}", request, ends_batch)

    def _from_leader(self, number: int) -> Entry:
        answer = self._client.ask(f"$JS.API.STREAM.MSG.GET.{self._stream}", {"seq": number}, BATCH_S)
        must_be_done(answer)
        message = answer["message"]
        lines = base64.b64decode(message.get("hdrs", "")).decode().split("\r\n")
        headers = {name: value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}
        return entry_of(number, headers, base64.b64decode(message.get("data", "")))

    def _state_from(self, after: int) -> _State:
        """The state of a stream that has had an entry with this sequence. LogLost if it keeps ending before that."""
        deadline = time.monotonic() + LOST_S
        while (state := self._state()).last < after:
            # A leader that has just come, or leads no more, may lag for a while.
            if time.monotonic() > deadline:
                raise LogLost(
                    f"the stream {self._stream} ends at {state.last}, and has had the entry {after}: "
                    "it was made anew, or its end was lost"
                )
            time.sleep(LOST_PAUSE_S)
        return state

    def _state(self) -> _State:
        answer = self._client.ask(f"$JS.API.STREAM.INFO.{self._stream}", {}, ANSWER_S)
        if answer.get("error", {}).get("err_code") == NO_STREAM:
            raise MediumError(f"the stream {self._stream} is gone: somebody has deleted it")
        must_be_done(answer)
        return _State(int(answer["state"]["first_seq"]), int(answer["state"]["last_seq"]))


def _patience(data: bytes) -> float:
    """The seconds that an append of this data may take."""
    return ANSWER_S + PER_MB_S * len(data) / (1 << 20)


class _Append(Call):
    """An append whose outcome is told in the thread of the client."""

    def __init__(self, outcome: Callable[[Msg], Position], done: Callable[[Position | MediumError], None]) -> None:
        self._outcome = outcome
        self._done = done

    def take(self, message: Msg) -> bool:
        try:
            self._done(self._outcome(message))
        except MediumError as error:
            self._done(error)
        return True

    def fail(self, error: MediumError) -> None:
        self._done(error)


def refusal(error: Mapping[str, Any], expected: int) -> MediumError:
    """What is to be raised for this answer to a message that had to stand right behind the sequence `expected`.

    Not each refused condition is a rival's work: a leader that has just come, or does not lead any more, may lag behind what
    we know ourselves. Then nothing is known.
    """
    code, text = error.get("err_code"), error.get("description", "")
    if code == WRONG_LAST:
        found = _LAST_SEQUENCE.search(text)
        if found and int(found[1]) > expected:
            return Refused(f"something stands behind {expected} already: the last sequence is {found[1]}")
    if code == TOO_LONG:
        return MediumError(f"NATS does not take it: {text} ({code})")
    return Unknown(f"NATS refuses: {text} ({code})")
