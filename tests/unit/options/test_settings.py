"""Settings of one source: names are found, later ones win or add up, and wrong texts come with the value that may be meant."""

from __future__ import annotations

import pytest

from kvserver.errors import ConfigError
from kvserver.options.inert import INERT_BY_NAME
from kvserver.options.settings import Setting, add, find, find_option, parse
from kvserver.options.table import BY_NAME


def test_option_is_found_by_any_of_its_names() -> None:
    assert find("port") is find_option("PORT", "here") is BY_NAME["port"]
    assert find_option("Tcp_Backlog", "here") is BY_NAME["tcp-backlog"]
    assert find("hash-max-ziplist-entries") is BY_NAME["hash-max-listpack-entries"]
    assert find("aof-rewrite-cpulist") is INERT_BY_NAME["aof_rewrite_cpulist"]
    assert find("nosuch") is None


def test_unknown_option_is_told_with_the_one_that_is_meant_as_the_source_writes_it() -> None:
    with pytest.raises(ConfigError, match=r"^here: unknown option; did you mean <bind>\?$"):
        find_option("host", "here", spell="<{}>".format)


def test_later_setting_wins_or_adds_up() -> None:
    settings: dict[str, Setting] = {}
    for name, text in (("port", "1"), ("save", "1 1"), ("port", "2"), ("save", "2 2")):
        add(settings, Setting(BY_NAME[name], name, text))
    assert {name: setting.text for name, setting in settings.items()} == {"port": "2", "save": "1 1 2 2"}
    add(settings, Setting(BY_NAME["save"], "save", ""))
    assert settings["save"].text == ""


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("appendonly", "true", "argument must be 'yes' or 'no' (got 'true'); did you mean yes?"),
        ("appendonly", "Off", "argument must be 'yes' or 'no' (got 'Off'); did you mean no?"),
        ("loglevel", "info", "argument(s) must be one of the following: debug, verbose, notice, warning (got 'info'); "
                             "did you mean notice?"),
        ("appendfsync", "alwys", "argument(s) must be one of the following: everysec, always, no (got 'alwys'); "
                                 "did you mean always?"),
        ("maxmemory", "100MiB", "argument must be a memory value (got '100MiB'); did you mean 100mb?"),
        ("maxmemory", "2 g", "argument must be a memory value (got '2 g'); did you mean 2gb?"),
        ("port", "abc", "argument couldn't be parsed into an integer (got 'abc')"),
        ("port", "70000", "argument must be between 0 and 65535 inclusive (got '70000')"),
    ],
)  # fmt: skip
def test_wrong_text_is_told_with_the_value_that_is_meant(name: str, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Setting(BY_NAME[name], f"--{name}", text))
    assert str(caught.value) == f"--{name}: {told}"
