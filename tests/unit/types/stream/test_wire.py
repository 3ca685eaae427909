"""Entries are sent as the encoder of replies would send them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kvserver.resp.reply import LONG_PIECE_BYTES, Encoded, Pairs, Rows, encode
from kvserver.types.stream.node import Node
from kvserver.types.stream.wire import entries_wire, map_of_one

texts = st.sampled_from([b"", b"f", b"%d", b"%%", b"\0", b"x" * 100]) | st.binary(max_size=5)


def node_of(fields: list[bytes], *rows: list[bytes]) -> Node:
    node = Node((2**41, 2**63), fields, None)
    for place, values in enumerate(rows):
        strings = [each for pair in zip(fields, values, strict=True) for each in pair]
        node.add((2**41 + 3 * place, 2**64 - 1 - place), strings, sum(map(len, strings)))
    return node


@settings(max_examples=50)
@given(st.data())
def test_entries_are_what_the_encoder_makes_of_their_rows(data: st.DataObject) -> None:
    width = data.draw(st.integers(1, 3))
    row = st.lists(texts, min_size=width, max_size=width)
    node = node_of(data.draw(row), *data.draw(st.lists(row, min_size=1, max_size=40)))
    if data.draw(st.booleans()):
        node.seal()
    start = data.draw(st.integers(0, len(node)))
    stop = data.draw(st.integers(start, len(node)))
    rows = Rows([b"%d-%d" % identity, [*strings]] for identity, strings in node.items(start, stop))
    wire = entries_wire(node, node.identities(start, stop), start, stop)
    assert wire == encode(rows, 2) == encode(rows, 3)
    for protocol in (2, 3):
        assert map_of_one(b"key", wire, protocol) == encode(Pairs([[b"key", rows]]), protocol)
        assert encode(map_of_one(b"key", wire, protocol), protocol) == Encoded(encode(Pairs([[b"key", rows]]), protocol))


def test_what_is_not_usual_or_too_long_to_be_copied_is_left_to_the_encoder() -> None:
    def wire(node: Node) -> bytes | None:
        return entries_wire(node, node.identities(0, len(node)), 0, len(node))

    other = node_of([b"f"], [b"v"])
    other.add((2**42, 0), [b"g", b"v"], 2)
    assert wire(other) is None
    long = b"x" * LONG_PIECE_BYTES
    assert wire(node_of([b"f"], [long])) is None
    assert wire(node_of([long], [b"v"])) is None
    assert wire(node_of([b"f"], [b"v"], [long])) is None
    assert wire(node_of([long[:-1]], [b""], [b""])) is None
    assert wire(node_of([b"f", b"g"], [b"v", long])) is None
    assert wire(node_of([b"f"], [long[1:]])) is not None
