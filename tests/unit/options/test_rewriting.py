"""A file that is rewritten gets the present values and keeps everything else, whatever TOML it is written in."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvserver.errors import ConfigError
from kvserver.options.config import Config, load, read_options
from kvserver.options.rewriting import SIGNATURE, Users, rewritten
from kvserver.options.table import OPTIONS, Change


def started_with(text: str, *arguments: str) -> Config:
    return load(["--config", "file", *arguments], {}, lambda path: text)


def rewrite(text: str, config: Config, path: str = "file", users: Users | None = None, **files: str) -> str:
    """The text of a file with the present values. It may include files of these names."""
    in_file, _ = read_options(path, text, files.__getitem__, lambda pattern: sorted(files))
    return rewritten(path, text, in_file, config, config.user if users is None else users)


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
    assert rewrite(EVERYTHING, started_with(EVERYTHING)) == EVERYTHING
    assert rewrite("", started_with("")) == ""


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
        rewrite(EVERYTHING, config)
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
    assert rewrite("timeout = 5\r\nmaxclients = 10\r\n", config) == "timeout = 0\r\nmaxclients = 10\r\n"


def test_options_that_the_file_lacks_follow_at_its_end_once() -> None:
    config = started_with("port = 1\n# end")
    set_all(config, timeout="5", requirepass="secret")
    once = rewrite("port = 1\n# end", config)
    assert once == f'port = 1\n# end\n\n{SIGNATURE}\ntimeout = 5\nrequirepass = "secret"\n'
    set_all(config, maxclients="7")
    assert rewrite(once, config) == once + "maxclients = 7\n"
    assert rewrite("", started_with("", "--timeout", "5")) == f"{SIGNATURE}\ntimeout = 5\n"


def test_inert_options_are_written_by_the_name_that_the_file_has() -> None:
    text = "hash-max-ziplist-value = 1  # old name\nHZ = 20\nio_threads = 4\n"
    config = started_with(text)
    assert rewrite(text, config) == text
    config.set([(b"hash-max-listpack-value", b"2"), (b"hz", b"30"), (b"activerehashing", b"no"), (b"slave-priority", b"7")])
    once = rewrite(text, config)
    assert once == (
        f"hash-max-ziplist-value = 2  # old name\nHZ = 30\nio_threads = 4\n\n{SIGNATURE}\n"
        "activerehashing = false\nreplica-priority = 7\n"
    )
    assert rewrite(once, started_with(once)) == once
    assert started_with(once).inert == {**config.inert}


def test_fixed_options_of_the_command_line_are_not_written() -> None:
    text = "port = 1\ntcp-backlog = 1\n"
    assert rewrite(text, started_with(text, "--tcp-backlog", "2", "--dir", "/elsewhere")) == text


def test_multi_line_text_is_replaced_as_a_whole() -> None:
    text = 'requirepass = """\na # b\n"""  # password\ntimeout = 1\n'
    config = started_with(text)
    set_all(config, requirepass="x")
    assert rewrite(text, config) == 'requirepass = "x"  # password\ntimeout = 1\n'


@pytest.mark.parametrize("text", ['requirepass = "old"\n', "requirepass old\n"], ids=["TOML", "redis.conf"])
def test_no_password_stays_beside_users_which_are_not_set_before_they_are_written(text: str) -> None:
    config = started_with(text)
    users = ((b"default", b"on", b"#" + b"0" * 64),)
    written = rewrite(text, config, users=users)
    assert "old" not in written
    assert config.user == ()
    assert started_with(written).user == users


def test_what_toml_cannot_express_is_an_error() -> None:
    config = started_with("")
    set_all(config, requirepass="\udcff")
    with pytest.raises(ConfigError, match="requirepass is not UTF-8"):
        rewrite("", config)


@pytest.mark.parametrize("text", ["port = ", "nonsense = 1\n", "[table]\nport = 1\n"])
def test_file_that_is_none_of_ours_any_more_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="the file file"):
        rewrite(text, Config())


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
    written = rewrite(text, config)
    assert live(started_with(written)) == live(config)
    assert rewrite(written, config) == written


def tomllib_text(value: str) -> str:
    escaped = "".join(f"\\U{ord(character):08x}" if not character.isalnum() else character for character in value)
    text = f'"{escaped}"'
    assert tomllib.loads(f"x = {text}") == {"x": value}
    return text


# --- Redis's form


def conf(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def test_what_did_not_change_is_kept_to_the_byte_in_redis_form() -> None:
    text = conf("# mine", "port 7000", "  timeout   5", "save 900 1", "", "save 300 10", 'requirepass ""', "HZ 20",
                "user default on >x ~* +@all", "daemonize yes", "dbfilename dump.rdb", "lua-time-limit 5")  # fmt: skip
    text += "loglevel notice"
    config = load(["redis.conf"], {}, lambda path: text)
    assert rewrite(text, config, "redis.conf") == text


def test_changed_lines_of_redis_form_take_the_place_of_the_first_one() -> None:
    text = conf("# mine", "port 7000", "  TIMEOUT 5", "save 900 1", "# between", "save 300 10", 'requirepass "a b"',
                "user default on >x ~* &* +@all", "client-output-buffer-limit replica 1mb 1mb 1", "slowlog-max-len 7",
                "slowlog-max-len 8", "bind 127.0.0.1")  # fmt: skip
    config = load(["redis.conf"], {}, lambda path: text)
    set_all(config, timeout="6", save="1 2 3 4", requirepass='new " \udcff', slowlog_max_len="9", maxclients="77",
            client_output_buffer_limit="pubsub 5 5 5", bind="127.0.0.1 -::1")  # fmt: skip
    once = rewrite(text, config, "redis.conf")
    assert once == conf(
        "# mine", "port 7000", "timeout 6", "save 1 2", "save 3 4", "# between", 'requirepass ""',
        "user default on >x ~* &* +@all",
        "client-output-buffer-limit normal 1073741824 268435456 60", "client-output-buffer-limit slave 1048576 1048576 1",
        "client-output-buffer-limit pubsub 5 5 5", "slowlog-max-len 9", "bind 127.0.0.1 -::1",
        "", SIGNATURE, "maxclients 77",
    )  # fmt: skip
    again = load(["redis.conf"], {}, lambda path: once)
    assert live(again) == {**live(config), "requirepass": b""}
    assert rewrite(once, again, "redis.conf") == once


def test_values_that_are_empty_or_at_their_default_are_written_where_the_file_has_others() -> None:
    text = "save 900 1\r\nrequirepass x\r\ntimeout 5\r\n"
    config = load(["redis.conf"], {}, lambda path: text)
    set_all(config, save="", requirepass="", timeout="0")
    assert rewrite(text, config, "redis.conf") == 'save ""\r\nrequirepass ""\r\ntimeout 0\r\n'


def test_value_that_an_included_file_sets_gets_the_last_word() -> None:
    text, included = conf("timeout 1", "include more", "hz 20"), "timeout 2\nmaxclients 5"
    files = {"redis.conf": text, "more": included}
    config = load(["redis.conf"], {}, files.__getitem__)
    assert rewrite(text, config, "redis.conf", None, **files) == text
    set_all(config, timeout="1", maxclients="6")
    once = rewrite(text, config, "redis.conf", None, **files)
    assert once == conf("include more", "hz 20", "", SIGNATURE, "timeout 1", "maxclients 6")
    assert live(load(["redis.conf"], {}, {**files, "redis.conf": once}.__getitem__)) == live(config)
