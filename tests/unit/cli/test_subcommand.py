"""A subcommand's parser: one line for what is wrong, and no words that it does not know."""

from __future__ import annotations

import argparse

import pytest

from kvserver.cli.subcommand import USAGE_IS_WRONG, Subcommand, add_dbfilename, parser_of
from kvserver.errors import UsageError

TOY = Subcommand("toy", "play", "Play.", ("0 all is well", USAGE_IS_WRONG), "kvserver toy", add_dbfilename, lambda given: 0)


def test_words_are_read_with_their_defaults() -> None:
    assert parser_of(TOY).parse([]) == argparse.Namespace(dbfilename="dump.kvs")
    assert parser_of(TOY).parse(["--dbfilename", "x"]) == argparse.Namespace(dbfilename="x")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--dbfilenam"], "toy: unrecognized arguments: --dbfilenam; did you mean --dbfilename?"),
        (["word"], "toy: unrecognized arguments: word (kvserver toy --help tells more)"),
        (["--dbfilename"], "toy: argument --dbfilename: expected one argument (kvserver toy --help tells more)"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], told: str) -> None:
    with pytest.raises(UsageError) as raised:
        parser_of(TOY).parse(words)
    assert str(raised.value).startswith(told)
