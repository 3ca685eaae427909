"""The marks of a shared log."""

from __future__ import annotations

from kvserver.media.shared import MARK_DIGEST_HEX, Mark, digest_of


def test_digest_depends_on_the_whole_chain_and_on_the_data() -> None:
    mark = Mark(1, 2, "")
    digests = {
        digest_of(mark, b"data"),
        digest_of(mark, b"datb"),
        digest_of(mark._replace(epoch=2), b"data"),
        digest_of(mark._replace(number=3), b"data"),
        digest_of(mark._replace(digest="00"), b"data"),
    }
    assert len(digests) == 5
    assert {len(digest) for digest in digests} == {MARK_DIGEST_HEX}
