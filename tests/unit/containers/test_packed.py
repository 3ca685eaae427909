"""packed: small collections in one str are what lists and dicts of the same are."""

from __future__ import annotations

import gc

from hypothesis import given
from hypothesis import strategies as st

from kvserver.containers import packed

# Few and awkward ones, so that one is the beginning, the end or a part of another.
packable = st.sampled_from([b"", b"a", b"aa", b"ab", b"b", b"\x02", b"\xff", b"\xc3\xa9", b"x" * packed.MOST_BYTES])
any_member = packable | st.sampled_from([b"\0", b"\1", b"a\0b", b"a\1", b"\0a", b"a\0", b"x" * (packed.MOST_BYTES + 1)])
pairs = st.dictionaries(packable, packable, max_size=8)


@given(st.lists(packable, max_size=8))
def test_members_come_back_in_their_order(members: list[bytes]) -> None:
    text = packed.pack_members("s", members)
    assert text is not None
    assert text[0] == "s"
    assert packed.members_of(text) == members
    assert packed.count_members(text) == len(members)


@given(pairs)
def test_pairs_come_back_in_their_order(contents: dict[bytes, bytes]) -> None:
    text = packed.pack_pairs("h", contents.items())
    assert text is not None
    assert list(packed.pairs_of(text).items()) == list(contents.items())
    assert packed.count_pairs(text) == len(contents)


@given(st.lists(any_member, max_size=4), st.dictionaries(any_member, any_member, max_size=4))
def test_what_cannot_be_packed_is_refused(members: list[bytes], contents: dict[bytes, bytes]) -> None:
    assert all(packed.can_pack_pair(*pair) == all(map(packed.can_pack, pair)) for pair in contents.items())
    assert (packed.pack_members("s", members) is not None) == all(map(packed.can_pack, members))
    assert (packed.pack_pairs("h", contents.items()) is not None) == all(map(packed.can_pack, [*contents, *contents.values()]))


def test_the_garbage_collector_does_not_look_at_it() -> None:
    assert not gc.is_tracked(packed.pack_members("s", [b"a"]))
