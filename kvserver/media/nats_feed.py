"""The entries of a stream in NATS as they come: a consumer that pushes them, and is given up when it is silent."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from kvserver.errors import MediumError
from kvserver.media.nats_calls import ANSWER_S, Call, must_be_done
from kvserver.media.nats_client import NatsClient
from kvserver.media.nats_entries import entry_of, sequence_in
from kvserver.media.shared import Entry

if TYPE_CHECKING:
    from nats.aio.msg import Msg

# A feed tells that it lives so often, and is given up when nothing was heard for so long.
# The second is much shorter than a lease: whoever reads takes a feed that has died for a log in which nobody writes.
HEARTBEAT_S: Final = 0.5
SILENCE_S: Final = 1.5
# So much waits for a reader before the feed stops.
FEED_BYTES: Final = 4 << 20
NANOSECONDS: Final = 1_000_000_000


class Feed(Call):
    """A consumer that pushes the entries behind a sequence as they come. One thread takes them."""

    def __init__(self, client: NatsClient, stream: str, after: int) -> None:
        self._client = client
        self._stream = stream
        self._change = threading.Condition()
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        # Where to ask for more, while it is not asked for.
        self._more = ""
        self._heard_at = time.monotonic()
        self._next = after + 1
        # The last sequence that was taken.
        self.last = after
        self.error = ""
        self._consumer = ""
        self._open(after)

    def _open(self, after: int) -> None:
        self._client.listen(self)
        self._consumer = self.reply.replace(".", "-")
        config = {
            "name": self._consumer,
            "deliver_subject": self.reply,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": after + 1,
            "ack_policy": "none",
            "max_deliver": 1,
            "mem_storage": True,
            "num_replicas": 1,
            "flow_control": True,
            "idle_heartbeat": int(HEARTBEAT_S * NANOSECONDS),
            "inactive_threshold": int(10 * NANOSECONDS),
        }
        body = {"stream_name": self._stream, "action": "create", "config": config}
        answer = self._client.ask(f"$JS.API.CONSUMER.CREATE.{self._stream}.{self._consumer}", body, ANSWER_S)
        must_be_done(answer)

    @property
    def is_over(self) -> bool:
        """True if no more entries come: those that have come may be taken still."""
        # On a slow line its words stand behind others: what counts is what has come to us by now.
        if not self.error and self._client.answered_at - self._heard_at > SILENCE_S:
            self.error = "NATS pushes no more entries"
        return bool(self.error) and not self._entries

    def read(self, wait_s: float) -> list[Entry]:
        """The entries that have come, or come within this time."""
        deadline = time.monotonic() + wait_s
        with self._change:
            while not self._entries and not self.is_over and (left := deadline - time.monotonic()) > 0:
                self._change.wait(min(left, HEARTBEAT_S))
            entries = list(self._entries)
            self._entries.clear()
            self._bytes = 0
            more, self._more = self._more, ""
        if more:
            self._client.tell(more)
        if entries:
            self.last = entries[-1].position.number
        return entries

    def close(self) -> None:
        self._client.ignore(self)
        self._client.tell(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._consumer}")

    def take(self, message: Msg) -> bool:
        with self._change:
            self._heard_at = time.monotonic()
            if not self.error:
                try:
                    self._take_in(message)
                except MediumError as error:
                    self.error = str(error)
            self._change.notify_all()
        return False

    def fail(self, error: MediumError) -> None:
        with self._change:
            self.error = self.error or str(error)
            self._change.notify_all()

    def _take_in(self, message: Msg) -> None:
        headers = message.headers or {}
        if headers.get("Status") == "100" and not message.data:
            # A heartbeat, or the question if more may come.
            more = message.reply or headers.get("Nats-Consumer-Stalled", "")
            if more and self._bytes < FEED_BYTES:
                self._client.tell(more)
            else:
                self._more = more or self._more
            return
        number = sequence_in(message.reply)
        if number != self._next:
            raise MediumError(f"NATS pushes the entry {number} where {self._next} is due")
        self._entries.append(entry_of(number, headers, message.data))
        self._bytes += len(message.data)
        self._next = number + 1
