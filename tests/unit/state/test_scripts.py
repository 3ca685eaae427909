"""Where nobody runs scripts, commands about them are refused or find nothing."""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run, text
from kvserver.errors import CommandError
from kvserver.state.scripts import NOT_HERE, NoScripts, ScriptFacts


def test_server_without_a_host_refuses_scripts() -> None:
    session = Server().session()
    assert text(run(session, "EVAL", "return 1", "0")) == NOT_HERE
    assert text(run(session, "SCRIPT", "LOAD", "return 1")) == NOT_HERE
    assert run(session, "SCRIPT", "EXISTS", "0" * 40) == [0]


def test_host_without_scripts_has_nothing() -> None:
    host: NoScripts[object] = NoScripts()
    assert (dict(host.by_sha), host.facts) == ({}, ScriptFacts(0, 0, 0))
    host.flush()
    with pytest.raises(CommandError):
        host.kill()
    with pytest.raises(CommandError):
        host.run(None, [], None, 0, False)
