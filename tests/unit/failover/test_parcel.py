"""What leaves together becomes the data of entries."""

from __future__ import annotations

import pytest

from kvserver.failover.parcel import cut


@pytest.mark.parametrize(
    ("pieces", "data"),
    [
        ([], [b""]),
        ([b""], [b""]),
        ([b"ab", b"c"], [b"abc"]),
        ([b"ab", b"cd", b"e"], [b"abcd", b"e"]),
        ([b"abcdefghi"], [b"abcd", b"efgh", b"i"]),
        ([b"abcd"], [b"abcd"]),
        ([b"a", b"bcdefgh"], [b"abcd", b"efgh"]),
    ],
    ids=range(7),
)
def test_pieces_are_cut_into_the_data_of_entries(pieces: list[bytes], data: list[bytes]) -> None:
    assert list(cut(pieces, 4)) == data
