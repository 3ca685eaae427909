"""A replica's greeting asks for what redis-server answers, and tells refusals as Redis's own replicas do."""

from __future__ import annotations

import pytest

from helpers.servers import ServerProcess, StartServer
from kvserver.errors import LinkLost
from kvserver.following.handshake import Continue, Credentials, FullResync, Handshake, Place, packed

RUN = "1e783c41ceb0f68a6c705b7b8df15de4f757b920"
HERE = Place("", 6380)


def greet(handshake: Handshake, *lines: bytes) -> bytes:
    """What is sent, where these lines come."""
    return handshake.begin() + b"".join(map(handshake.take, lines))


def test_new_replica_asks_for_all_data() -> None:
    handshake = Handshake(Credentials(), HERE)
    sent = greet(handshake, b"+PONG", b"+OK", b"+OK", b"", b"+FULLRESYNC %b 17" % RUN.encode())
    assert sent == b"".join(
        map(
            packed,
            (
                [b"PING"],
                [b"REPLCONF", b"listening-port", b"6380"],
                [b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"],
                [b"PSYNC", b"?", b"-1"],
            ),
        )
    )
    assert handshake.answer == FullResync(RUN, 17)


def test_replica_that_has_data_asks_for_what_is_behind_it() -> None:
    handshake = Handshake(Credentials(b"me", b"secret"), Place("10.0.0.1", 6380), RUN, 99)
    sent = greet(handshake, b"-NOAUTH Authentication required.", b"+OK", b"+OK", b"-ERR unknown", b"+OK", b"+CONTINUE")
    assert packed([b"AUTH", b"me", b"secret"]) in sent
    assert packed([b"REPLCONF", b"ip-address", b"10.0.0.1"]) in sent
    assert sent.endswith(packed([b"PSYNC", RUN.encode(), b"100"]))
    assert handshake.answer == Continue(RUN)


@pytest.mark.parametrize(("line", "run"), [(b"+CONTINUE " + b"a" * 40, "a" * 40), (b"+CONTINUE ", RUN)])
def test_history_may_go_on_by_another_name(line: bytes, run: str) -> None:
    handshake = Handshake(Credentials(), HERE, RUN, 99)
    greet(handshake, b"+PONG", b"+OK", b"+OK", line)
    assert handshake.answer == Continue(run)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([b"-DENIED no"], "Error reply to PING from master: '-DENIED no'"),
        ([b"$5"], "Error reply to PING from master: '$5'"),
        ([b"+PONG", b"-WRONGPASS x"], "Unable to AUTH to MASTER: -WRONGPASS x"),
        ([b"+PONG", b"+OK", b"+OK", b"+OK", b"-LOADING x"], "Master is currently unable to PSYNC but should be in the future"),
        ([b"+PONG", b"+OK", b"+OK", b"+OK", b"-NOMASTERLINK x"], "Master is currently unable to PSYNC but should be"),
        ([b"+PONG", b"+OK", b"+OK", b"+OK", b"-ERR unknown command 'PSYNC'"], "the source lets nobody follow it"),
        ([b"+PONG", b"+OK", b"+OK", b"+OK", b"-NOPERM x"], "Unexpected reply to PSYNC from master: -NOPERM x"),
        ([b"+PONG", b"+OK", b"+OK", b"+OK", b"+CONTINUE"], "Unexpected reply to PSYNC from master: +CONTINUE"),
        ([b"+PONG", b"+OK", b"+OK", b"+OK", b"+FULLRESYNC short 1"], "Unexpected reply to PSYNC from master: +FULLRESYNC"),
    ],
)
def test_refusal_is_told_in_a_line(lines: list[bytes], told: str) -> None:
    with pytest.raises(LinkLost) as caught:
        greet(Handshake(Credentials(b"", b"x"), HERE), *lines)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def say(server: ServerProcess, handshake: Handshake) -> None:
    with server.connect() as wire:
        data = handshake.begin()
        while handshake.answer is None:
            wire.send(data)
            while b"\n" not in wire.pending:
                wire.pending += wire.socket.recv(100)
            line, _, rest = bytes(wire.pending).partition(b"\n")
            wire.pending[:] = rest
            data = handshake.take(line.rstrip(b"\r"))


def test_redis_server_answers_it(redis_oracle: ServerProcess, start_server: StartServer) -> None:
    redis_oracle.once("CONFIG", "SET", "repl-diskless-sync-delay", 0)
    handshake = Handshake(Credentials(), HERE)
    say(redis_oracle, handshake)
    assert isinstance(handshake.answer, FullResync)
    locked = start_server("--requirepass", "secret", kind="redis-server")
    say(locked, Handshake(Credentials(b"", b"secret"), HERE))
    with pytest.raises(LinkLost, match="Unable to AUTH to MASTER: -WRONGPASS"):
        say(locked, Handshake(Credentials(b"", b"wrong"), HERE))
    with pytest.raises(LinkLost, match="Unexpected reply to PSYNC from master: -NOAUTH"):
        say(locked, Handshake(Credentials(), HERE))


def test_server_of_ours_lets_nobody_follow_it(kvserver: ServerProcess) -> None:
    with pytest.raises(LinkLost, match="the source lets nobody follow it"):
        say(kvserver, Handshake(Credentials(), HERE))
