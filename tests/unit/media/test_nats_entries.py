"""An entry as a message of a stream."""

from __future__ import annotations

import pytest

from kvserver.errors import MediumError
from kvserver.formats.manifest import Position
from kvserver.media.nats_entries import entry_of, sequence_in
from kvserver.media.shared import Entry, Mark


def test_entry_is_in_the_headers_and_the_data() -> None:
    headers = {"KV-Epoch": "3", "KV-Number": "7", "KV-Digest": "ab"}
    assert entry_of(9, headers, b"data") == Entry(Position(3, 9), Mark(3, 7, "ab"), b"data")
    for lacking in headers:
        with pytest.raises(MediumError, match="the message 9 of the stream has no mark of kvserver's"):
            entry_of(9, {name: value for name, value in headers.items() if name != lacking}, b"data")


def test_sequence_is_in_the_subject_of_the_acknowledgement() -> None:
    assert sequence_in("$JS.ACK.stream.consumer.1.12.3.1700000000.0") == 12
    assert sequence_in("$JS.ACK._.account.stream.consumer.1.12.3.1700000000.0.token") == 12
    for other in ("", "$JS.FC.stream", "$JS.ACK.stream"):
        with pytest.raises(MediumError, match="NATS pushes what is no message of a stream"):
            sequence_in(other)
