"""Users come from the options or from a file, and go to the file. (wire/test_users has the replies.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.sessions import Server
from kvserver.engine.users import IN_TWO_PLACES, load_at_start
from kvserver.errors import StartError
from kvserver.options.config import load
from kvserver.state.session import ServerState


def state_of(*words: str) -> ServerState:
    state = Server().state
    state.config = load(words, {}, str)
    return state


def test_users_of_the_options_are_there_at_the_start() -> None:
    state = state_of("--user", "alice", "on", ">a b", "~a*", "+get", "--user", "bob", "off", "--requirepass", "x")
    load_at_start(state)
    users = state.users
    assert users.names == [b"alice", b"bob", b"default"]
    alice = users.get(b"alice")
    assert alice
    assert alice.accepts(b"a b")
    assert users.default.accepts(b"x")
    assert not users.default.accepts(b"y")


def test_users_of_a_file_are_all_there_are(tmp_path: Path) -> None:
    file = tmp_path / "users.acl"
    file.write_text("user alice on nopass +get\n")
    state = state_of("--aclfile", str(file), "--requirepass", "x")
    load_at_start(state)
    assert state.users.names == [b"alice", b"default"]
    # As in Redis, what the file does not say of the default user is that it may do everything.
    assert state.users.default.is_open


@pytest.mark.parametrize(
    ("words", "text", "error"),
    [
        (("--user", "a", "on"), "user b on", IN_TWO_PLACES),
        ((), "user a on +nosuch", "the users can't be loaded: "),
        ((), None, "Error loading ACLs, opening file '"),
        (("--user", "a", "+nosuch", ">secret"), "", "the users can't be loaded: Error loading ACL rule '+nosuch'"),
    ],
)
def test_wrong_users_keep_a_server_from_starting(words: tuple[str, ...], text: str | None, error: str, tmp_path: Path) -> None:
    file = tmp_path / "users.acl"
    if text is not None:
        file.write_text(text)
    with pytest.raises(StartError) as caught:
        load_at_start(state_of(*words, *([] if text == "" else ["--aclfile", str(file)])))
    assert str(caught.value).startswith(error)
    assert "secret" not in str(caught.value)
