"""XPENDING looks at the entries of a group or of a consumer by age. The case file compares its other replies."""

from __future__ import annotations

from helpers.sessions import Server, run


def test_entries_are_told_by_age_and_consumer() -> None:
    server = Server()
    session = server.session()
    run(session, "XGROUP", "CREATE", "k", "g", 0, "MKSTREAM")
    for number in range(1, 7):
        run(session, "XADD", "k", number, "f", "v")
        run(session, "XREADGROUP", "GROUP", "g", "ab"[number % 2], "STREAMS", "k", ">")
        server.clock.now_ms += 10

    def told(*words: str | int) -> object:
        return run(session, "XPENDING", "k", "g", *words)

    assert told("-", "+", 2) == [[b"1-0", b"b", 60, 1], [b"2-0", b"a", 50, 1]]
    assert told("IDLE", 35, 2, "+", 9) == [[b"2-0", b"a", 50, 1], [b"3-0", b"b", 40, 1]]
    assert told("IDLE", 30, "-", "+", 9, "a") == [[b"2-0", b"a", 50, 1], [b"4-0", b"a", 30, 1]]
    assert told("IDLE", 61, "-", "+", 9) == told("-", "+", 9, "nobody") == []
    assert told() == [6, b"1-0", b"6-0", [[b"a", b"3"], [b"b", b"3"]]]
    # A clock that was set back makes nothing negative.
    server.clock.now_ms -= 1000
    assert told(6, 6, 1) == [[b"6-0", b"a", 0, 1]]
