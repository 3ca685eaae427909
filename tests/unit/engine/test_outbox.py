"""Replies wait, in order, until the data that they saw is safe, and a client may pile up only so many."""

from __future__ import annotations

from kvserver.engine.outbox import HELD_BYTES, Outbox


class Recording:
    sequence = 0
    safe = 0

    def cover(self) -> int:
        return self.sequence


class Client:
    def __init__(self) -> None:
        self.is_waiting = False
        self.seen: list[str] = []

    def write(self, data: bytes) -> None:
        self.seen.append(data[:20].decode())

    def wait(self) -> None:
        self.is_waiting = True

    def go_on(self) -> None:
        self.is_waiting = False

    def finish(self) -> None:
        self.seen.append("finish")

    def close(self) -> None:
        self.seen.append("close")

    def abort(self) -> None:
        self.seen.append("abort")


def test_reply_leaves_when_what_it_could_have_seen_is_safe() -> None:
    recording, client = Recording(), Client()
    outbox = Outbox(recording)
    for number in (1, 2):
        recording.sequence = number
        outbox.write(client, b"%d" % number)
        outbox.seal()
    # This tick has written nothing.
    outbox.write(client, b"read")
    outbox.seal()
    assert client.seen == []
    recording.safe = 1
    outbox.release()
    assert client.seen == ["1"]
    recording.safe = 2
    outbox.release()
    assert client.seen == ["1", "2", "read"]
    assert outbox.is_empty


def test_reply_leaves_at_once_where_all_is_safe() -> None:
    client = Client()
    outbox = Outbox(Recording())
    outbox.write(client, b"1")
    outbox.seal()
    assert client.seen == ["1"]


def test_end_of_a_connection_comes_behind_its_replies() -> None:
    recording, client = Recording(), Client()
    recording.sequence = 1
    outbox = Outbox(recording)
    outbox.write(client, b"bye")
    outbox.close(client)
    outbox.finish(client)
    outbox.seal()
    assert client.seen == []
    recording.safe = 1
    outbox.release()
    assert client.seen == ["bye", "close", "finish"]


def test_failure_tells_nobody_that_all_is_well() -> None:
    recording, client = Recording(), Client()
    recording.sequence = 1
    outbox = Outbox(recording)
    outbox.write(client, b"OK")
    outbox.seal()
    outbox.abort()
    recording.safe = 1
    outbox.release()
    assert client.seen == ["abort"]
    assert outbox.is_empty


def test_client_that_piles_up_replies_runs_nothing_more_until_they_left() -> None:
    recording, client = Recording(), Client()
    recording.sequence = 1
    outbox = Outbox(recording)
    outbox.write(client, bytes(HELD_BYTES))
    assert not client.is_waiting
    outbox.write(client, b"1")
    assert client.is_waiting
    outbox.seal()
    recording.safe = 1
    outbox.release()
    assert not client.is_waiting


def test_failure_closes_those_whose_replies_are_of_the_present_tick_too() -> None:
    recording, client = Recording(), Client()
    outbox = Outbox(recording)
    outbox.write(client, b"OK")
    # The record was written, or should have been, before the tick was at its end.
    recording.sequence = recording.safe = 1
    outbox.abort()
    outbox.seal()
    assert client.seen == ["abort"]
    assert outbox.is_empty


def test_failure_gives_back_the_room_of_what_was_held() -> None:
    recording, client, other = Recording(), Client(), Client()
    recording.sequence = 1
    outbox = Outbox(recording)
    outbox.write(client, bytes(HELD_BYTES // 2))
    outbox.seal()
    outbox.write(client, bytes(HELD_BYTES // 2))
    outbox.abort()
    outbox.write(other, b"1")
    assert not other.is_waiting, "what was aborted still counts"


def test_replies_of_a_run_leave_together_in_their_order_and_are_held_as_others() -> None:
    recording, clients = Recording(), [Client(), Client()]
    recording.sequence = 1
    outbox = Outbox(recording)
    outbox.write(clients[0], b"before")
    outbox.write_all(clients, [b"1", b"2"])
    outbox.write(clients[1], b"behind")
    outbox.seal()
    assert [client.seen for client in clients] == [[], []]
    recording.safe = 1
    outbox.release()
    assert [client.seen for client in clients] == [["before", "1"], ["2", "behind"]]
    outbox.write_all(clients, [bytes(HELD_BYTES), b"1"])
    assert [client.is_waiting for client in clients] == [True, True]
    outbox.seal()
    assert [client.is_waiting for client in clients] == [False, False]


def test_failure_closes_all_clients_of_a_run_and_gives_back_its_room() -> None:
    recording, clients, other = Recording(), [Client(), Client()], Client()
    recording.sequence = 1
    outbox = Outbox(recording)
    outbox.write_all(clients, [bytes(HELD_BYTES // 2)] * 2)
    outbox.seal()
    outbox.abort()
    assert [client.seen for client in clients] == [["abort"], ["abort"]]
    outbox.write(other, b"1")
    assert not other.is_waiting
