"""ACL tells of users and changes them. (wire/cases/acl.txt compares the replies with redis-server's.)"""

from __future__ import annotations

from typing import Any

from helpers.sessions import Server, run, text
from kvserver.dispatch.command import REDACTED
from kvserver.resp.reply import SetOf


def test_default_may_do_everything() -> None:
    session = Server().session()
    assert run(session, "ACL", "WHOAMI") == b"default"
    assert run(session, "ACL", "USERS") == [b"default"]
    assert run(session, "ACL", "LIST") == [b"user default on nopass ~* &* +@all"]
    assert run(session, "ACL", "GETUSER", "nobody") is None


def test_password_is_told_as_its_hash() -> None:
    server = Server()
    # A session that is there before the password need not authenticate.
    session = server.session()
    server.set_password(b"a")
    digest = b"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    user: Any = run(session, "ACL", "GETUSER", "default")
    assert user[b"passwords"] == [digest]
    assert user[b"flags"] == SetOf([b"on"])
    assert run(session, "ACL", "LIST") == [b"user default on #%b ~* &* +@all" % digest]


def test_dry_run_shows_nobody_a_password() -> None:
    call = [b"ACL", b"DRYRUN", b"u", b"AUTH", b"u", b"secret"]
    shown = Server().state.commands[b"acl"].redacted(call)
    assert shown == [*call[:4], REDACTED, REDACTED]


def test_categories_have_their_commands() -> None:
    session = Server().session()
    categories: Any = run(session, "ACL", "CAT")
    assert {b"string", b"keyspace", b"dangerous"} <= set(categories)
    commands: Any = run(session, "ACL", "CAT", "Dangerous")
    assert {b"config|set", b"flushall"} <= set(commands)
    assert b"get" not in commands
    assert text(run(session, "ACL", "CAT", "nosuch")) == "ERR Unknown category 'nosuch'"
