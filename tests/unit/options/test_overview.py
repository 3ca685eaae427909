"""The texts about options name all of them, and fit a terminal of 80 columns."""

from __future__ import annotations

from kvserver.options.overview import GROUPS, MOST_USED, WIDTH, all_options, most_used, named, one_option
from kvserver.options.table import BY_NAME, CONFIG_FILE, OPTIONS


def test_all_options_are_there_with_their_meaning_and_default() -> None:
    text = all_options()
    assert max(map(len, text.splitlines())) <= WIDTH
    for group, options in GROUPS.items():
        section = text.split(f"\n## {group}\n")[1].partition("\n## ")[0]
        for option in options:
            about = section.split(f"--{option.name} {option.kind.placeholder}\n\n")[1].partition("\n\n    ")[0]
            words = " ".join(about.split())
            assert words.startswith(f"{option.help[:1].upper()}{option.help[1:]}.")
            assert f"Default: {option.default or 'empty'}. " in words


def test_most_used_options_stand_below_their_groups_and_the_others_are_counted() -> None:
    text = most_used()
    lines = text.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert len(lines) < 50
    shown = [line.split("--")[1].split()[0] for line in lines if line.startswith("  -")]
    assert set(shown) == MOST_USED
    counted = sum(int(line.split("(")[1].split()[0]) for line in lines if line[0] != " " and "(" in line)
    assert counted + len(shown) == len(OPTIONS) + 1
    assert [line.split(" (")[0].rstrip(":") for line in lines if line[0] != " "] == list(GROUPS)


def test_option_is_found_by_what_a_reader_types() -> None:
    assert named("--port") is named("port") is BY_NAME["port"]
    assert named("config") is CONFIG_FILE
    assert named("nosuch") is None
    assert one_option(BY_NAME["port"])[0] == "    -p, --port NUMBER|auto"
