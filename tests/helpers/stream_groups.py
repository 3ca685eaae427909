"""Random consumer groups of streams, and the text that a frame has for groups."""

from __future__ import annotations

from hypothesis import strategies as st

from kvserver.containers.named import Named
from kvserver.types.stream.group import UNKNOWN, Group, Groups
from kvserver.types.stream.group_frames import groups_pieces
from kvserver.types.stream.ids import LAST

names = st.sampled_from([b"", b"a", b"\xff", b"$kvs:", b'],["', b'"\\', "é".encode(), b"n" * 900])
ids = st.one_of(st.tuples(st.integers(0, 3), st.integers(0, 3)), st.just(LAST))
pending = st.dictionaries(ids, st.tuples(names, st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**64 - 1)), max_size=5)


@st.composite
def some_groups(draw: st.DrawFn) -> Groups:
    groups: Groups = Named()
    for name in draw(st.lists(names, unique=True, max_size=3)):
        group = groups.add(name, Group(draw(ids), draw(st.sampled_from([UNKNOWN, 0, 2**63 - 1, -2, -(2**63)]))))
        for consumer in draw(st.lists(names, max_size=4)):
            group.see(consumer, draw(st.integers(-(2**63), 2**63 - 1)))
        for identity, (consumer, time_ms, number) in draw(pending).items():
            if group.consumers.get(consumer) is None:
                group.see(consumer, 0)
            group.deliver(identity, consumer, time_ms, number)
    return groups


def text_of(groups: Groups) -> bytes:
    return b"".join(groups_pieces(groups))
