"""A file of options in TOML: what each type of value becomes, and one line for what is no option. More is in test_config."""

from __future__ import annotations

import pytest

from kvserver.errors import ConfigError
from kvserver.options.toml import read_toml


def test_values_come_as_texts_with_their_origin() -> None:
    settings = read_toml('port = 1\nappendonly = false\nsave = ["1 2", "3 4"]\nHZ = "5"', "the file a")
    assert {name: setting.text for name, setting in settings.items()} == {
        "port": "1",
        "appendonly": "no",
        "save": "1 2 3 4",
        "hz": "5",
    }
    assert settings["port"].origin == "'port' in the file a"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("host = 'x'", "'host' in the file a: unknown option; did you mean bind?"),
        ("port = 1.5", "'port' in the file a: it must be an integer or a string"),
        ("port 1", "the file a is not TOML: Expected '=' after a key in a key/value pair (at line 1, column 6)"),
        ("# \udcff", "the file a is not TOML: 'utf-8' codec can't decode byte 0xff in position 2: invalid start byte"),
    ],
)
def test_what_is_wrong_is_one_line(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_toml(text, "the file a")
    assert str(caught.value) == told
