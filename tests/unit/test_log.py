"""The log has lines of text or JSON, in a file that is rotated, or in one that can not be written."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvserver.errors import ConfigError
from kvserver.log import LogFile, is_on_terminal, open_log
from kvserver.options.config import Config


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """As they were before, afterwards."""
    found = [logging.getLogger(name) for name in ("kvserver", "asyncio")]
    before = [(log.handlers[:], log.propagate, log.level) for log in found]
    yield
    for log, (handlers, propagate, level) in zip(found, before, strict=True):
        for handler in log.handlers:
            if handler not in handlers:
                handler.close()
        log.handlers, log.propagate, log.level = handlers, propagate, level


def config(**values: str) -> Config:
    made = Config()
    vars(made).update(values)
    return made


def raise_and_log(log: logging.Logger) -> None:
    try:
        raise KeyError("gone")
    except KeyError:
        log.exception("it failed")


def test_text_is_one_line_with_process_time_level_and_message(tmp_path: Path) -> None:
    path = tmp_path / "log"
    open_log(config(logfile=str(path)))
    logging.getLogger("kvserver").info("%d keys", 3)
    assert re.fullmatch(rf"{os.getpid()} \d\d \w{{3}} \d{{4}} \d\d:\d\d:\d\d\.\d{{3}} INFO 3 keys\n", path.read_text())


def test_json_is_one_object_a_line_whatever_is_logged(tmp_path: Path) -> None:
    path = tmp_path / "log"
    open_log(config(logfile=str(path), log_format="json"))
    log = logging.getLogger("kvserver")
    log.warning('a "quoted"\nline, \u2028 \udcff \x00')
    raise_and_log(log)
    raise_and_log(logging.getLogger("asyncio"))  # what a task that failed comes to
    plain, failed, of_asyncio = map(json.loads, path.read_bytes().splitlines())
    assert plain.keys() == {"time", "level", "pid", "message"}
    assert (plain["level"], plain["pid"]) == ("warning", os.getpid())
    assert plain["message"] == 'a "quoted"\nline, \u2028 \udcff \x00'
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", plain["time"])
    for each in (failed, of_asyncio):
        assert (each["level"], each["message"]) == ("error", "it failed")
        assert each["exception"].startswith("Traceback")
        assert each["exception"].endswith("KeyError: 'gone'")


def test_log_goes_to_standard_error_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    open_log(config(log_format="json"))
    logging.getLogger("kvserver").info("hello")
    said = capsys.readouterr()
    assert json.loads(said.err)["message"] == "hello"
    assert said.out == ""


def test_level_is_the_one_that_the_options_say(tmp_path: Path) -> None:
    path = tmp_path / "log"
    open_log(config(logfile=str(path), loglevel="warning"))
    log = logging.getLogger("kvserver")
    log.info("not this")
    log.warning("but this")
    assert path.read_text().endswith("WARNING but this\n")
    assert len(path.read_text().splitlines()) == 1


@pytest.mark.parametrize("how", ["moved", "removed", "replaced"])
def test_file_that_was_rotated_is_opened_anew(tmp_path: Path, how: str) -> None:
    path, old = tmp_path / "log", tmp_path / "log.1"
    open_log(config(logfile=str(path)))
    log = logging.getLogger("kvserver")
    log.info("first")
    if how == "removed":
        path.unlink()
    else:
        path.rename(old)
    if how == "replaced":
        path.write_text("by logrotate\n")
    log.info("second")
    log.info("third")
    lines = [line.rpartition(" ")[2] for line in path.read_text().splitlines()]
    assert lines == ["logrotate", "second", "third"][how != "replaced" :]
    if how != "removed":
        assert old.read_text().endswith(" first\n")


def test_file_whose_folder_is_gone_is_told_of_once_and_stops_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    open_log(config(logfile=str(folder / "log")))
    log = logging.getLogger("kvserver")
    folder.rename(tmp_path / "moved")
    log.info("one")
    log.info("two")
    assert capsys.readouterr().err == f"kvserver: cannot write the log file {folder}/log: No such file or directory\n"
    assert [line.rpartition(" ")[2] for line in (tmp_path / "moved" / "log").read_text().splitlines()] == ["one", "two"]
    folder.mkdir()
    log.info("three")
    assert (folder / "log").read_text().endswith(" three\n")
    (folder / "log").unlink()
    folder.rmdir()
    log.info("four")
    assert "No such file" in capsys.readouterr().err  # told again, since it was well in between


def test_terminal_gets_lines_without_day_and_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert is_on_terminal(config())
    assert not is_on_terminal(config(log_format="json"))
    assert not is_on_terminal(config(logfile="log"))
    open_log(config())
    logging.getLogger("kvserver").warning("look")
    assert re.fullmatch(r"\d\d:\d\d:\d\d WARNING look\n", capsys.readouterr().err)


def test_log_on_a_full_disk_is_told_of_once_and_stops_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    open_log(config(logfile="/dev/full"))
    for _ in range(3):
        logging.getLogger("kvserver").info("lost")
    assert capsys.readouterr().err == "kvserver: cannot write the log file /dev/full: No space left on device\n"
    (handler,) = (each for each in logging.getLogger("kvserver").handlers if isinstance(each, LogFile))
    assert handler.stream
    # What it could not write is still to be written; elsewhere, since it would say so again when it is closed.
    os.dup2(os.open(os.devnull, os.O_WRONLY), handler.stream.fileno())


def test_log_file_that_cannot_be_opened_is_an_error_of_the_options(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot open the log file .*: No such file or directory"):
        open_log(config(logfile=str(tmp_path / "nowhere" / "log")))


def test_defect_of_a_call_is_shown_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_log(config(logfile=str(tmp_path / "log")))
    logging.getLogger("kvserver").info("%d", "no number")
    assert "Traceback" in capsys.readouterr().err
    assert sys.exc_info() == (None, None, None)
