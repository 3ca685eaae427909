"""Topics are the Markdown files of a folder, and one that is made of the options; the list has each with its heading."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvserver.cli.main import main
from kvserver.cli.topics import TOPICS, find_topic, list_of_topics, usage
from kvserver.errors import UsageError
from kvserver.options.overview import all_options

COMMANDS = [("check", "look at files")]
# The characters of a line that may stand somewhere again.
MOST_REPEATED = 40


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "durability.md").write_text("# What is kept\n\nAll of it.\n")
    (tmp_path / "network.md").write_text("text\n\n## On a network ##\n")
    (tmp_path / "bare.md").write_text("no heading\n")
    (tmp_path / "notes.txt").write_text("# No topic\n")
    return str(tmp_path)


def test_list_has_each_topic_with_its_heading_and_each_command(folder: str) -> None:
    assert list_of_topics(folder, COMMANDS).splitlines() == [
        "topics (`kvserver help TOPIC` shows one):",
        "  bare",
        "  commands       Commands: all that the server takes, by group",
        "  durability     What is kept",
        "  network        On a network",
        "  options        Options: all of them, with their defaults",
        "",
        "commands (`kvserver help COMMAND` shows its help):",
        "  check          look at files",
        "",
        "`kvserver help` also takes the name of an option, or of a command for clients.",
    ]


@pytest.mark.parametrize("path", sorted(Path(TOPICS).glob("*.md")), ids=lambda path: path.stem)
def test_topic_says_nothing_twice(path: Path) -> None:
    points = [point.strip() for part in path.read_text("utf-8").split("\n\n") for point in part.split("\n- ")]
    assert [point for point in set(points) if points.count(point) > 1 and len(point) > MOST_REPEATED] == []


def test_topic_is_shown_as_it_stands_in_its_file(folder: str) -> None:
    assert find_topic("Durability", folder, COMMANDS) == "# What is kept\n\nAll of it."
    assert find_topic("options", folder, COMMANDS) == all_options()


def test_option_and_command_of_one_name_are_both_told(folder: str) -> None:
    option, _, command = find_topic("save", folder, COMMANDS).partition("\n\n    SAVE\n\n")
    assert option.startswith("    --save SECONDS")
    assert command.startswith("Save the dataset to disk, and reply when it is there.")


def test_option_is_a_topic_too(folder: str) -> None:
    text = find_topic("--maxmemory", folder, COMMANDS)
    assert text.startswith("    --maxmemory BYTES\n\n")
    assert find_topic("maxmemory", folder, COMMANDS) == text


@pytest.mark.parametrize(
    ("name", "meant"),
    [("durabilty", "durability"), ("chekc", "check"), ("password", "requirepass"), ("optoins", "options"), ("notes", "")],
)
def test_what_is_no_topic_is_told_with_the_one_that_is_meant(folder: str, name: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_topic(name, folder, COMMANDS)
    question = f"; did you mean {meant}?" if meant else ""
    assert str(caught.value) == f"help: there is no topic {name!r}{question} (kvserver help lists the topics)"


def test_folder_that_is_missing_leaves_the_options(tmp_path: Path) -> None:
    assert "  options  " in list_of_topics(str(tmp_path / "none"), COMMANDS)


def test_usage_is_short_and_points_to_the_rest() -> None:
    lines = usage(COMMANDS).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 75
    assert any("kvserver help options" in line for line in lines)


def test_topics_that_come_with_the_package_have_a_heading_and_fit_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help"]) == 0
    listed = capsys.readouterr().out.partition("\n\n")[0].splitlines()[1:]
    names = {line.split()[0] for line in listed}
    files = {path.stem for path in Path(TOPICS).glob("*.md")}
    assert names == files | {"commands", "options"}
    assert all(len(line.split()) > 1 for line in listed)
    assert max(map(len, listed)) <= 80
