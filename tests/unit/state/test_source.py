"""The figures of a link follow what becomes of it."""

from __future__ import annotations

from kvserver.state.source import LinkState, SourceFacts


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_link_that_is_lost_is_down_since_then() -> None:
    clock = Clock()
    source = SourceFacts("h", 1, clock)
    source.lost("Connection refused")
    assert (source.down_s, source.error) == (None, "Connection refused"), "there was none yet"
    source.connected()
    assert (source.state, source.error, source.down_s) == (LinkState.CONNECTED, "", None)
    source.sync_bytes = source.synced_bytes = 7
    source.lost("Connection with master lost.")
    assert (source.state, source.sync_bytes, source.synced_bytes) == (LinkState.CONNECT, 0, 0)
    clock.now_s += 5
    source.lost("Connection refused")
    assert (source.down_s, source.error) == (5.0, "Connection refused")


def test_silence_is_since_anything_came() -> None:
    clock = Clock()
    source = SourceFacts("h", 1, clock)
    clock.now_s += 3
    assert source.silence_s == 3
    source.heard()
    assert source.silence_s == 0


def test_history_is_forgotten_as_a_whole() -> None:
    source = SourceFacts("h", 1, Clock())
    source.run, source.offset, source.read_offset = "a" * 40, 5, 7
    source.forget_history()
    assert (source.run, source.offset, source.read_offset) == ("", 0, 0)
