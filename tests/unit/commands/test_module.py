"""MODULE tells that there is none. (wire/cases/module.txt compares the replies with redis-server's.)"""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run, text
from kvserver.commands.module import NOT_ALLOWED


def test_no_module_is_there() -> None:
    assert run(Server().session(), "MODULE", "LIST") == []


@pytest.mark.parametrize("line", ["MODULE LOAD /x.so", "MODULE LOADEX /x.so CONFIG a b", "MODULE UNLOAD x"])
def test_none_is_loaded_and_the_transaction_that_would_fails(line: str) -> None:
    session = Server().session()
    assert text(run(session, *line.split())) == NOT_ALLOWED
    run(session, "MULTI")
    assert text(run(session, *line.split())) == NOT_ALLOWED
    assert session.transaction
    assert session.transaction.has_failed
