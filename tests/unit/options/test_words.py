"""Words are quoted as Redis quotes them, and read back. (test_redis_conf reads whole files, and asks redis-server.)"""

from __future__ import annotations

import pytest

from kvserver.options.words import join_words, quoted, split_arguments, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b" a  'b c' \"d\\x41\\n\" ", [b"a", b"b c", b"dA\n"]),
        (b"#a b", [b"#a", b"b"]),
        (b"", []),
        (b"'a", None),
        (b'"a"b', None),
    ],
)
def test_words_are_split_as_by_redis(text: bytes, words: list[bytes] | None) -> None:
    assert split_arguments(text) == words


def test_comment_is_no_word_of_a_line() -> None:
    assert split_words("  # a b") == []


def test_joined_words_are_split_again() -> None:
    words = ["alice", ">pass word", "~a*", '"', "", "\udcff"]
    assert split_words(join_words(words)) == words
    assert quoted("~a*") == "~a*"
