"""An entry of a shared log as a message of a stream in NATS. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from kvserver.errors import MediumError
from kvserver.formats.manifest import Position
from kvserver.media.shared import Entry, Mark

# The mark of an entry, as headers.
MARK_EPOCH, MARK_NUMBER, MARK_DIGEST = "KV-Epoch", "KV-Number", "KV-Digest"


def sequence_in(reply: str) -> int:
    """The sequence of a message in its stream, by the subject that its acknowledgement would go to."""
    words = reply.split(".")
    # $JS.ACK.stream.consumer.deliveries.SEQUENCE.…; newer servers may put a domain and an account before the stream.
    place = 5 if len(words) == 9 else 7
    if words[:2] != ["$JS", "ACK"] or len(words) <= place:
        raise MediumError(f"NATS pushes what is no message of a stream: {reply!r}")
    return int(words[place])


def entry_of(number: int, headers: Mapping[str, str], data: bytes) -> Entry:
    """The entry in a message. MediumError for one that kvserver has not written."""
    try:
        mark = Mark(int(headers[MARK_EPOCH]), int(headers[MARK_NUMBER]), headers[MARK_DIGEST])
    except (KeyError, ValueError):
        raise MediumError(
            f"the message {number} of the stream has no mark of kvserver's: somebody else writes there"
        ) from None
    return Entry(Position(mark.epoch, number), mark, data)
