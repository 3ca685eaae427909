"""A file that is rewritten gets the present values and keeps everything else, whatever TOML it is written in."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvserver.errors import ConfigError
from kvserver.options.config import Config, load
from kvserver.options.rewriting import SIGNATURE, rewritten
from kvserver.options.table import OPTIONS, Change


def started_with(text: str, *arguments: str) -> Config:
    return load(["--config", "file", *arguments], {}, lambda path: text)


def set_all(config: Config, **values: str) -> None:
    config.set([(name.replace("_", "-").encode(), value.encode("utf-8", "surrogateescape")) for name, value in values.items()])


def live(config: Config) -> dict[str, Any]:
    return {option.name: getattr(config, option.attribute) for option in OPTIONS if option.change is not Change.FIXED}


EVERYTHING = """# my server
tcp-backlog = 7000  # not changed at run time

timeout = 5 # seconds # of nothing
"maxclients"=100
  appendonly = true	# a tab before this
save = [  # two
    "900 1",
    "300 10",
]
requirepass = 'a # no comment'   # a comment
'loglevel' = "notice"
slowlog_max_len = "7"
# the end"""


def test_what_did_not_change_is_kept_to_the_byte() -> None:
    assert rewritten(EVERYTHING, started_with(EVERYTHING)) == EVERYTHING
    assert rewritten("", started_with("")) == ""


def test_changed_values_take_the_place_of_the_old_ones_and_comments_stay() -> None:
    config = started_with(EVERYTHING)
    set_all(
        config,
        timeout="6",
        maxclients="200",
        appendonly="no",
        save="1 2",
        requirepass='new " \\ \x01 pass',
        loglevel="debug",
        slowlog_max_len="8",
    )
    assert (
        rewritten(EVERYTHING, config)
        == """# my server
tcp-backlog = 7000  # not changed at run time

timeout = 6 # seconds # of nothing
"maxclients"=200
  appendonly = false	# a tab before this
save = "1 2"
requirepass = "new \\" \\\\ \\u0001 pass"   # a comment
'loglevel' = "debug"
slowlog_max_len = 8
# the end"""
    )


def test_value_that_is_back_at_its_default_is_written_where_the_file_has_another() -> None:
    config = started_with("timeout = 5\r\nmaxclients = 10\r\n")
    set_all(config, timeout="0")
    assert rewritten("timeout = 5\r\nmaxclients = 10\r\n", config) == "timeout = 0\r\nmaxclients = 10\r\n"


def test_options_that_the_file_lacks_follow_at_its_end_once() -> None:
    config = started_with("port = 1\n# end")
    set_all(config, timeout="5", requirepass="secret")
    once = rewritten("port = 1\n# end", config)
    assert once == f'port = 1\n# end\n\n{SIGNATURE}\ntimeout = 5\nrequirepass = "secret"\n'
    set_all(config, maxclients="7")
    assert rewritten(once, config) == once + "maxclients = 7\n"
    assert rewritten("", started_with("", "--timeout", "5")) == f"{SIGNATURE}\ntimeout = 5\n"


def test_inert_options_are_written_by_the_name_that_the_file_has() -> None:
    text = "hash-max-ziplist-value = 1  # old name\nHZ = 20\nio_threads = 4\n"
    config = started_with(text)
    assert rewritten(text, config) == text
    config.set([(b"hash-max-listpack-value", b"2"), (b"hz", b"30"), (b"activerehashing", b"no"), (b"slave-priority", b"7")])
    once = rewritten(text, config)
    assert once == (
        f"hash-max-ziplist-value = 2  # old name\nHZ = 30\nio_threads = 4\n\n{SIGNATURE}\n"
        "activerehashing = false\nreplica-priority = 7\n"
    )
    assert rewritten(once, started_with(once)) == once
    assert started_with(once).inert == {**config.inert}


def test_fixed_options_of_the_command_line_are_not_written() -> None:
    text = "port = 1\ntcp-backlog = 1\n"
    assert rewritten(text, started_with(text, "--tcp-backlog", "2", "--dir", "/elsewhere")) == text


def test_multi_line_text_is_replaced_as_a_whole() -> None:
    text = 'requirepass = """\na # b\n"""  # password\ntimeout = 1\n'
    config = started_with(text)
    set_all(config, requirepass="x")
    assert rewritten(text, config) == 'requirepass = "x"  # password\ntimeout = 1\n'


def test_what_toml_cannot_express_is_an_error() -> None:
    config = started_with("")
    set_all(config, requirepass="\udcff")
    with pytest.raises(ConfigError, match="requirepass is not UTF-8"):
        rewritten("", config)


@pytest.mark.parametrize("text", ["port = ", "nonsense = 1\n", "[table]\nport = 1\n"])
def test_file_that_is_none_of_ours_any_more_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="the configuration file"):
        rewritten(text, Config())


blanks = st.sampled_from(["", " ", "\t", "  "])
names: dict[str, Callable[[str], str]] = {"bare": str, "basic": lambda name: f'"{name}"', "literal": lambda name: f"'{name}'"}


@given(data=st.data())
def test_file_that_was_written_gives_the_values_that_were_there(data: st.DataObject) -> None:
    values: dict[str, st.SearchStrategy[str]] = {
        "timeout": st.integers(0, 1000).map(str),
        "appendonly": st.sampled_from(["yes", "no"]),
        "requirepass": st.text(st.characters(exclude_categories=["Cs"])),
        "save": st.sampled_from(["", "1 2", "900 1 300 10"]),
        "loglevel": st.sampled_from(["debug", "notice"]),
    }
    lines = []
    for name in data.draw(st.lists(st.sampled_from(sorted(values)), unique=True)):
        spelled = names[data.draw(st.sampled_from(sorted(names)))](name)
        value = tomllib_text(data.draw(values[name]))
        comment = data.draw(st.sampled_from(["", " # x", "# 'y", '\t# "z']))
        lines.append(f"{data.draw(blanks)}{spelled}{data.draw(blanks)}={data.draw(blanks)}{value}{comment}")
    text = "\n".join(lines) + data.draw(st.sampled_from(["", "\n"]))
    config = started_with(text)
    for name in data.draw(st.lists(st.sampled_from(sorted(values)), unique=True)):
        set_all(config, **{name.replace("-", "_"): data.draw(values[name])})
    written = rewritten(text, config)
    assert live(started_with(written)) == live(config)
    assert rewritten(written, config) == written


def tomllib_text(value: str) -> str:
    escaped = "".join(f"\\U{ord(character):08x}" if not character.isalnum() else character for character in value)
    text = f'"{escaped}"'
    assert tomllib.loads(f"x = {text}") == {"x": value}
    return text
