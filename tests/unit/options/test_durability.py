"""The words about durability say what the options say. What they promise is held by tests/crash."""

from __future__ import annotations

import pytest

from helpers.options import load_from
from kvserver.options.durability import durability


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "a kill loses nothing, a power cut about a second"),
        (["--appendfsync", "always"], "neither a kill nor a power cut loses anything acknowledged"),
        (["--appendfsync", "no"], "a kill loses nothing, a power cut what the system has not written yet"),
        (["--appendonly", "no"], "a kill or a power cut loses what is newer than the last snapshot"),
        (["--appendonly", "no", "--save", ""], "a kill or a power cut loses everything since the last SAVE or SHUTDOWN"),
        (
            ["--appendonly", "no", "--appendfsync", "always"],
            "a kill or a power cut loses what is newer than the last snapshot",
        ),
        (
            ["--medium", "nats://h/kv"],
            "nothing acknowledged is lost that the engine keeps: neither by a kill, nor by a power cut or a failover",
        ),
        (
            ["--medium", "nats://h/kv", "--appendfsync", "no"],
            "a failover loses what was acknowledged and had not come to the engine yet, up to 8 MB",
        ),
    ],
)
def test_words_are_those_of_the_options(arguments: list[str], said: str) -> None:
    assert durability(load_from(*arguments)) == said
