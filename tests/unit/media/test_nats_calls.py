"""What is on its way to NATS, and the thread that waits for it."""

from __future__ import annotations

import threading

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.protocol.command import hpub_cmd, pub_cmd

from kvserver.errors import MediumError, Unknown
from kvserver.media.nats_calls import Call, Calls, Waiting, ends_batch, message_of, must_be_done, parsed


def message(data: bytes, headers: dict[str, str] | None = None) -> Msg:
    return Msg(_client=Client(), data=data, headers=headers)


def test_one_answer_ends_the_wait() -> None:
    waiting, answer = Waiting(), message(b"x")
    thread = threading.Timer(0.01, lambda: waiting.take(answer))
    thread.start()
    assert waiting.answers(60) == [answer]
    thread.join()


def test_answers_come_to_the_last_one() -> None:
    waiting = Waiting(lambda answer: answer.data == b"end")
    first, last = message(b"first"), message(b"end")
    assert waiting.take(first) is False
    assert waiting.answers(0) is None
    assert waiting.take(last) is True
    assert waiting.answers(60) == [first, last]


def test_failure_ends_the_wait() -> None:
    waiting = Waiting()
    waiting.fail(Unknown("lost"))
    with pytest.raises(Unknown, match="lost"):
        waiting.answers(60)


def test_message_goes_over_the_wire_as_the_library_writes_it() -> None:
    data = bytes(range(256))
    assert message_of("a.b", "r", data, None, 256) == pub_cmd("a.b", "r", data)
    head = b"NATS/1.0\r\nOne: 1\r\nTwo: \r\n\r\n"
    assert message_of("a.b", "r", data, {"One": "1", "Two": ""}, 256 + len(head)) == hpub_cmd("a.b", "r", head, data)
    with pytest.raises(MediumError, match="NATS does not take 283 bytes at once: its max_payload is 282"):
        message_of("a.b", "r", data, {"One": "1", "Two": ""}, 255 + len(head))


def test_answer_is_a_json_object() -> None:
    assert parsed(message(b'{"seq": 5}')) == {"seq": 5}
    # A message without data may have headers of another kind.
    for data, headers in ((b"[]", None), (b"{", None), (b"", None), (b"", {"Status": "404"})):
        with pytest.raises(MediumError, match="NATS answers what is no JSON object"):
            parsed(message(data, headers))
    with pytest.raises(MediumError, match="nobody answers in NATS now: JetStream is off, or what it is about has no leader"):
        parsed(message(b"", {"Status": "503"}))


def test_end_of_a_batch_is_a_status_without_data() -> None:
    assert ends_batch(message(b"", {"Status": "204"}))
    for data, headers in ((b"x", {"Status": "204"}), (b"", {"Nats-Sequence": "1"}), (b"", None)):
        assert not ends_batch(message(data, headers))


def test_answer_that_is_an_error_is_raised() -> None:
    must_be_done({"success": True})
    with pytest.raises(MediumError, match=r"NATS refuses: stream not found \(10059\)"):
        must_be_done({"error": {"code": 404, "err_code": 10059, "description": "stream not found"}})


class Noting(Call):
    """It notes what comes to it, and has enough with an answer."""

    def __init__(self, subject: str, reply: str) -> None:
        self.subject, self.reply = subject, reply
        self.came: list[Msg | MediumError] = []

    def take(self, message: Msg) -> bool:
        self.came.append(message)
        return message.data == b"last"

    def fail(self, error: MediumError) -> None:
        self.came.append(error)


def answer_to(call: Call, data: bytes) -> Msg:
    return Msg(_client=Client(), subject=call.reply, data=data)


def test_calls_get_their_own_answers_to_the_last() -> None:
    calls, one, other = Calls(), Noting("A", "r1"), Noting("A", "r2")
    calls.add(one)
    calls.add(other)
    first, last = answer_to(one, b"first"), answer_to(one, b"last")
    for message in (first, last, answer_to(one, b"late"), answer_to(Noting("", "r3"), b"")):
        calls.take(message)
    assert one.came == [first, last]
    assert other.came == []
    assert len(calls) == 1
    assert calls.drop(other)
    assert not calls.drop(other)


def test_calls_to_a_subject_fail_and_others_go_on() -> None:
    calls, error = Calls(), MediumError("no")
    noting = [Noting("$JS.API.Info", "r1"), Noting("$JS.API", "r2"), Noting("x", "_INBOX.R3")]
    for call in noting:
        calls.add(call)
    assert calls.fail(error, "$js.api.info") == 1
    assert calls.fail(error, "_inbox.r3") == 1
    assert calls.fail(error, "nowhere") == 0
    assert [call.came for call in noting] == [[error], [], [error]]
    assert calls.fail(error) == 1
    assert len(calls) == 0
