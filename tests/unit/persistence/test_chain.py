"""The segments that a start replays, and the snapshot from which on."""

from __future__ import annotations

from kvserver.formats.scan import Tail
from kvserver.formats.segment import Link, SegmentScan
from kvserver.persistence.chain import Chain


def whole(*digests: str, size: int = 1000) -> SegmentScan:
    found = SegmentScan(size)
    found.records, found.links, found.valid_length = 1, [Link(0, digest) for digest in digests], size
    return found


def torn(*digests: str, tail: Tail = Tail.TORN) -> SegmentScan:
    found = whole(*digests)
    found.valid_length, found.tail, found.reason = 900, tail, "why"
    return found


def test_nothing_there_is_nothing_to_replay() -> None:
    chain = Chain({})
    assert (chain.is_linked, chain.digest, chain.replayed, chain.behind, chain.lost_something) == (False, "", [], [], False)


def test_replay_begins_at_the_last_link_of_all() -> None:
    chain = Chain({1: whole("a"), 2: whole(), 3: whole("b", "c"), 4: whole()})
    assert (chain.digest, chain.superfluous, chain.replayed, chain.behind) == ("c", [1, 2], [3, 4], [])


def test_torn_tail_of_the_last_segment_loses_nothing() -> None:
    chain = Chain({1: whole("a"), 2: torn()})
    assert (chain.replayed, chain.lost_something) == ([1, 2], False)


def test_torn_tail_before_others_ends_the_replay() -> None:
    chain = Chain({1: torn("a"), 2: whole()})
    assert (chain.replayed, chain.behind, chain.lost_something) == ([1], [2], True)
    assert "segment 1 ends at offset 900" in chain.reason


def test_torn_tail_before_empty_segments_loses_nothing() -> None:
    assert not Chain({1: torn("a"), 2: whole(size=0)}).lost_something


def test_damage_loses_something_even_at_the_end() -> None:
    assert Chain({1: torn("a", tail=Tail.DAMAGED)}).lost_something


def test_missing_number_ends_the_replay() -> None:
    chain = Chain({4: whole("a"), 6: whole(), 7: whole()})
    assert (chain.replayed, chain.behind, chain.reason) == ([4], [6, 7], "segment 5 is missing")


def test_link_behind_a_gap_or_damage_makes_these_superfluous() -> None:
    chain = Chain({1: torn("a", tail=Tail.DAMAGED), 3: whole("b")})
    assert (chain.digest, chain.superfluous, chain.replayed, chain.behind) == ("b", [1], [3], [])


def test_without_any_link_nothing_is_replayed() -> None:
    chain = Chain({1: whole(), 2: whole()})
    assert (chain.is_linked, chain.replayed, chain.behind, chain.lost_something) == (False, [], [1, 2], True)


def test_what_the_replay_can_not_run_ends_it() -> None:
    chain = Chain({1: whole("a"), 2: whole(), 3: whole()})
    chain.stop(2, 500, "no such command")
    assert (chain.replayed, chain.behind, chain.lost_something) == ([1, 2], [3], True)
    assert (chain.scans[2].valid_length, chain.scans[2].tail) == (500, Tail.DAMAGED)
