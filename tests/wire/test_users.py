"""Users over the wire: whose rights change is closed where Redis closes it; files of users; nobody is shown a password.

(cases/acl.txt has the replies, test_acl_rules random rules.)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from helpers.nodes import Nodes
from helpers.servers import COMMON_OPTIONS, Kind, ServerProcess, Wire, encode, parse
from wire.talks import logged

StartServer = Callable[..., ServerProcess]
KINDS: tuple[Kind, ...] = ("kvserver", "redis-server")
SECRET = "s3cretOfNobody"


def talk(server: ServerProcess, *lines: str) -> list[tuple[str, bytes]]:
    """What clients hear who speak in turn, `A: SET k v`; each reply is read before the next line is said."""
    wires: dict[str, Wire] = {}
    heard = []
    try:
        for line in lines:
            name, _, said = line.partition(": ")
            wire = wires.setdefault(name, server.connect()) if name not in wires else wires[name]
            try:
                heard.append((line, wire.command(*said.split())))
            except (EOFError, ConnectionError):
                heard.append((line, b"<closed>"))
    finally:
        for wire in wires.values():
            wire.close()
    return heard


CONVERSATIONS = {
    "deleted users are closed": (
        "A: ACL SETUSER u on nopass +@all ~* &*", "B: AUTH u x", "C: AUTH u x", "B: GET k", "A: ACL DELUSER u v", "B: GET k",
        "C: PING", "A: PING",
    ),
    "who deletes itself has the reply": (
        "A: ACL SETUSER u on nopass +@all ~* &*", "B: AUTH u x", "B: ACL DELUSER u", "B: PING", "A: ACL USERS",
    ),
    "subscribers are closed where they may hear no more": (
        "A: ACL SETUSER u on nopass +@all &c* &d", "B: AUTH u x", "B: SUBSCRIBE c1", "C: AUTH u x", "C: PSUBSCRIBE c*",
        "D: AUTH u x", "D: SSUBSCRIBE d", "E: AUTH u x", "A: ACL SETUSER u &e", "B: PING", "C: PING", "D: PING",
        "A: ACL SETUSER u resetchannels &c1 &d", "B: PING", "C: PING", "D: PING", "E: GET k", "A: ACL SETUSER u resetchannels",
        "B: PING", "D: PING", "E: GET k", "A: ACL DELUSER u",
    ),
    "all channels are taken away": (
        "A: ACL SETUSER u on nopass +@all allchannels", "B: AUTH u x", "B: PSUBSCRIBE x", "C: AUTH u x",
        "C: SUBSCRIBE x",
        "A: ACL SETUSER u +get", "B: PING", "A: ACL SETUSER u resetchannels &x", "B: PING", "C: PING",
        "A: ACL SETUSER u allchannels", "B: PING", "A: ACL SETUSER u resetchannels &xy", "B: PING", "C: PING",
        "A: ACL DELUSER u",
    ),
    "rights change between calls": (
        "A: ACL SETUSER u on nopass +get +set ~k", "B: AUTH u x", "B: SET k 1", "A: ACL SETUSER u -set", "B: SET k 2",
        "B: GET k",
        "A: ACL SETUSER u resetkeys ~l", "B: GET k", "B: GET l", "A: ACL SETUSER u off", "B: GET l", "C: AUTH u x",
        "A: ACL SETUSER u on >p", "C: AUTH u x", "C: AUTH u p", "A: ACL SETUSER u allkeys +@all allchannels", "B: SET k 3",
        "C: GET k", "C: ACL WHOAMI", "A: CLIENT KILL USER u", "B: PING", "C: PING", "A: ACL DELUSER u",
    ),
    "three clients and a transaction": (
        "A: ACL SETUSER u on nopass +@all ~*", "B: AUTH u x", "B: MULTI", "B: SET k 1", "B: GET l", "C: AUTH u x",
        "A: ACL SETUSER u resetkeys ~l", "C: GET k", "B: GET k", "B: EXEC", "B: MULTI", "B: GET l", "A: ACL SETUSER u -exec",
        "B: EXEC", "B: DISCARD", "A: ACL DELUSER u", "B: PING", "C: PING",
    ),
    "a client that waits": (
        "A: ACL SETUSER u on nopass +@all ~*", "B: AUTH u x", "B: MULTI", "B: BLPOP k 0", "B: EXEC", "A: ACL DELUSER u",
        "B: PING",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_clients_hear_and_are_closed_as_by_redis(name: str, kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    lines = CONVERSATIONS[name]
    assert talk(kvserver, *lines) == talk(redis_oracle, *lines)


def test_client_that_waits_is_closed_with_its_user(kvserver: ServerProcess) -> None:
    with kvserver.connect() as admin, kvserver.connect() as waiting:
        admin.command("ACL", "SETUSER", "u", "on", "nopass", "+@all", "~*")
        number = waiting.value("CLIENT", "ID")
        waiting.send(encode("AUTH", "u", "x") + encode("BLPOP", "k", 0))
        assert waiting.read_reply() == b"+OK\r\n"
        assert admin.command("ACL", "DELUSER", "u") == b":1\r\n"
        assert waiting.read_until_eof() == b""
        assert admin.command("CLIENT", "LIST", "ID", number) == b"$0\r\n\r\n"


@pytest.mark.parametrize("kind", KINDS)
def test_client_that_waits_and_may_not_use_its_key_any_more_is_served(kind: Kind, start_server: StartServer) -> None:
    """From 7.2 on, Redis refuses it then."""
    server = start_server(*COMMON_OPTIONS, kind=kind)
    with server.connect() as admin, server.connect() as waiting:
        admin.command("ACL", "SETUSER", "u", "on", "nopass", "+@all", "~*")
        waiting.send(encode("AUTH", "u", "x") + encode("BLPOP", "k", 0))
        assert waiting.read_reply() == b"+OK\r\n"
        while b"blocked_clients:1" not in admin.command("INFO", "clients"):
            pass
        assert admin.command("ACL", "SETUSER", "u", "resetkeys") == b"+OK\r\n"
        assert admin.command("RPUSH", "k", "v") == b":1\r\n"
        assert parse(waiting.read_reply()) == [b"k", b"v"]
        assert waiting.command("BLPOP", "k", 0).startswith(b"-NOPERM this user has no permissions to access one of the keys")


def test_categories_are_those_of_redis(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    with kvserver.connect() as ours, redis_oracle.connect() as theirs:
        categories = theirs.value("ACL", "CAT")
        assert ours.value("ACL", "CAT") == [*categories, b"json"]
        has = {category: set(theirs.value("ACL", "CAT", category)) for category in categories}
        known = set().union(*has.values())
        for category in categories:
            told = ours.value("ACL", "CAT", category)
            assert len(told) == len(set(told))
            # There are later commands here, and some of a cluster are not.
            assert set(told) & known == has[category] & all_commands(ours), category


def all_commands(wire: Wire) -> set[bytes]:
    return {name for category in wire.value("ACL", "CAT") for name in wire.value("ACL", "CAT", category)}


def test_subscriber_that_takes_its_own_channels_away_has_the_reply(kvserver: ServerProcess) -> None:
    """redis-server 7.0.15 frees the client while it runs its command."""
    with kvserver.connect() as wire:
        wire.send(
            encode("ACL", "SETUSER", "u", "on", "nopass", "+@all", "&c") + encode("HELLO", 3, "AUTH", "u", "x")
            + encode("SUBSCRIBE", "c") + encode("ACL", "SETUSER", "u", "resetchannels") + encode("PING")
        )  # fmt: skip
        heard = wire.read_until_eof()
        assert heard.endswith(b":1\r\n+OK\r\n")
    kvserver.once("ACL", "DELUSER", "u")


# --- The log ---


def test_log_has_the_entries_of_redis(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    lines = (
        "ACL LOG RESET", "ACL SETUSER u on >p +@all -incr ~a* &c", "AUTH u x", "AUTH u x", "HELLO 2 AUTH nosuch x", "AUTH u p",
        "GET b", "GET b", "INCR a", "PUBLISH d x", "CONFIG GET x", "MULTI", "INCR a", "DISCARD",
        "EVAL redis.call('incr','a') 0",
        "EVAL redis.call('get','b') 0", "MGET a b c", "AUTH default x", "ACL LOG 20", "ACL LOG 2",
        "CONFIG SET acllog-max-len 1",
        "AUTH u x", "ACL LOG", "AUTH nosuch x", "ACL LOG", "CONFIG SET acllog-max-len 0", "ACL LOG", "AUTH v x", "ACL LOG",
        "CONFIG SET acllog-max-len 128", "ACL DELUSER u",
    )  # fmt: skip
    heard = []
    for server in (kvserver, redis_oracle):
        with server.connect() as wire:
            heard.append([(line, logged(wire.command(*line.split()))) for line in lines])
    assert heard[0] == heard[1]


# --- The file, the options ---


@pytest.mark.parametrize("kind", KINDS)
def test_file_is_loaded_and_saved_as_by_redis(kind: Kind, start_server: StartServer, tmp_path: Path) -> None:
    file = tmp_path / "users.acl"
    file.write_text("user alice on allcommands allkeys &* >alice\nuser bob on -@all +@set +acl ~set* &* >bob\n")
    server = start_server(*COMMON_OPTIONS, "--aclfile", str(file), kind=kind)
    heard = talk(
        server, "A: ACL USERS", "B: AUTH alice alice", "C: AUTH bob bob", "C: SADD set 1", "C: SET k v",
        "A: ACL SETUSER eve on +get",
        "A: ACL SAVE", "A: ACL LOAD", "B: PING", "C: PING", "A: ACL USERS", "D: AUTH alice alice", "D: ACL LOAD", "D: PING",
        "A: ACL LIST", "A: CONFIG GET aclfile",
    )  # fmt: skip
    replies = [reply for _, reply in heard]
    assert replies[6:10] == [b"+OK\r\n", b"+OK\r\n", b"<closed>", b"<closed>"]
    assert replies[12:14] == [b"+OK\r\n", b"<closed>"]
    assert parse(replies[-1]) == [b"aclfile", str(file).encode()]
    lines = file.read_bytes().splitlines()
    assert lines == parse(replies[-2])
    digest = hashlib.sha256(b"alice").hexdigest()
    assert lines[0].decode() == f"user alice on #{digest} ~* &* +@all"
    assert lines[3] == b"user eve on resetchannels -@all +get"
    assert not list(tmp_path.glob("*tmp*"))
    file.write_text("user alice on\n\nuser alice off\nnonsense\nuser eve +nosuch\n")
    with server.connect() as wire:
        error = wire.command("ACL", "LOAD").decode().replace(str(file), "FILE")
        assert error == (
            "-ERR WARNING: Duplicate user 'alice' found on line 3. FILE:4 should start with user keyword followed by the "
            "username. FILE:5: Error in applying operation '+nosuch': "
            "Unknown command or category name in ACL. WARNING: ACL errors detected, no change to the "
            "previously active ACL rules was performed\r\n"
        )
        assert b"user eve on resetchannels -@all +get" in wire.value("ACL", "LIST")
        file.unlink()
        error = wire.command("ACL", "LOAD").decode().replace(str(file), "FILE")
        assert error == "-ERR Error loading ACLs, opening file 'FILE': No such file or directory\r\n"
        assert wire.command("ACL", "SAVE") == b"+OK\r\n"
    assert len(file.read_text().splitlines()) == 4


def test_load_in_a_transaction_is_refused(start_server: StartServer, tmp_path: Path) -> None:
    """The file is read beside other work: users that the transaction makes behind the load would be gone."""
    file = tmp_path / "users.acl"
    file.write_text("user default on nopass ~* &* +@all\n")
    server = start_server(*COMMON_OPTIONS, "--aclfile", str(file))
    heard = talk(
        server, "A: MULTI", "A: ACL SETUSER before on", "A: ACL LOAD", "A: ACL SETUSER behind on", "A: EXEC", "A: ACL USERS",
    )  # fmt: skip
    assert [reply for _, reply in heard[2:]] == [
        b"-ERR ACL LOAD is not allowed inside a transaction\r\n",
        b"+QUEUED\r\n",
        b"-EXECABORT Transaction discarded because of previous errors.\r\n",
        b"*1\r\n$7\r\ndefault\r\n",
    ]


def test_users_of_a_standby_are_its_own(tmp_path: Path) -> None:
    file = tmp_path / "users.acl"
    file.write_text("user alice on nopass ~* +get\nuser default on nopass ~* &* +@all\n")
    with Nodes(tmp_path, f"file:{tmp_path}/engine", 2, 500, "--aclfile", str(file)) as nodes:
        primary = nodes.primary()
        (standby,) = (node for node in nodes.nodes if node is not primary)
        with primary.connect() as here, Wire(standby.port) as there:
            here.command("ACL", "SETUSER", "bob", "on")
            assert there.value("ACL", "USERS") == [b"alice", b"default"]
            assert there.command("ACL", "SETUSER", "carol", "on") == b"+OK\r\n"
            assert there.command("ACL", "LOAD") == b"+OK\r\n"
            assert here.value("ACL", "USERS") == [b"alice", b"bob", b"default"]
            assert there.value("ACL", "USERS") == [b"alice", b"default"]


# Of a parenthesis that nothing ends, redis-server 7.0.15 crashes.
WRONG_LINES = (
    "user u3 on >secret",
    "user default on nopass +@all",
    "user u99 on +nosuch",
    "user u99 on )",
    "user u99 on (nosuch)",
    "user u99 on #abc",
    "user u99 on ~* ~a",
    "user",
    "user ",
    "USER u99 on",
    "u99 on",
    "# users",
    "user u99 on ~a\x00b",
    "user u99 on +get|a|b",
    "user u99 on %x~a",
    "  user  u99  on  nosuch",
    "user u99 on\tnopass",
    'user "a b" on',
    "user u99 on +@nosuch -@nosuch",
    "user u99 allchannels &a",
)


def test_file_with_one_wrong_line_changes_nothing(start_server: StartServer, tmp_path: Path) -> None:
    """As in redis-server, whose words about the line these are. (From 8.0 on, it takes lines that begin with #.)"""
    servers = []
    lines = [f"user u{number} on >p{number} ~k{number}:* +@all" for number in range(50)]
    lines.insert(20, "user default on nopass ~* &* +@all")
    for kind in KINDS:
        folder = tmp_path / kind
        folder.mkdir()
        file = folder / "users.acl"
        file.write_text("".join(f"{line}\n" for line in lines))
        server = start_server(*COMMON_OPTIONS, "--aclfile", str(file), kind=kind, directory=folder)
        servers.append((server, file))
    with servers[0][0].connect() as ours, servers[1][0].connect() as theirs, servers[0][0].connect() as user:
        assert user.command("AUTH", "u3", "p3") == b"+OK\r\n"
        before = [wire.value("ACL", "LIST") for wire in (ours, theirs)]
        for wrong in WRONG_LINES:
            changed = [line.replace("~k", "~changed") for line in lines]
            changed.insert(30, wrong)
            said = []
            for (_, file), wire in zip(servers, (ours, theirs), strict=True):
                file.write_text("".join(f"{line}\n" for line in changed))
                said.append(wire.command("ACL", "LOAD").decode().replace(str(file), "FILE"))
            assert said[0] == said[1], wrong
            if said[0].startswith("-"):
                assert [wire.value("ACL", "LIST") for wire in (ours, theirs)] == before
                assert user.command("SET", "k3:x", "y") == b"+OK\r\n"
            else:
                pytest.fail(f"both take {wrong!r}")


@pytest.mark.parametrize("kind", KINDS)
def test_default_user_of_a_configuration_has_the_channels_that_it_names(kind: Kind, start_server: StartServer) -> None:
    for words, begin in (
        (("default", "on", "nopass", "~*", "+@all"), b"-NOPERM this user has no permissions to access one of the channels"),
        (("default", "on", "nopass", "~*", "&*", "+@all"), b"*3\r\n"),
    ):
        server = start_server(*COMMON_OPTIONS, "--user", *words, kind=kind)
        with server.connect() as wire:
            assert wire.command("SUBSCRIBE", "foo").startswith(begin)
        server.stop()


def test_users_come_from_a_configuration_and_go_back_to_it(start_server: StartServer, tmp_path: Path) -> None:
    toml = tmp_path / "kvserver.toml"
    toml.write_text('appendonly = false\n# mine\nuser = ["alice on >secret ~a* +get", "bob on nopass (+set ~b*) +ping"]\n')
    conf = tmp_path / "redis.conf"
    conf.write_text("appendonly no\nuser alice on >secret ~a* +get\nuser bob on nopass (+set ~b*) +ping\n")
    lists = []
    for number, path in enumerate((toml, conf)):
        options = ("--config", str(path), "--save", "", "--enable-protected-configs", "yes")
        server = start_server(*options, directory=make(tmp_path / f"{number}"))
        with server.connect() as wire:
            assert wire.command("AUTH", "alice", "secret") == b"+OK\r\n"
            assert wire.command("GET", "b").startswith(b"-NOPERM this user has no permissions to access one of the keys")
            wire.command("AUTH", "default", "x")
            wire.command("ACL", "SETUSER", "carol", "on", "nopass", "~c", "+@all", "-flushall")
            wire.command("ACL", "DELUSER", "bob")
            wire.command("CONFIG", "SET", "requirepass", "p", "timeout", 7)
            assert wire.command("CONFIG", "REWRITE") == b"+OK\r\n"
            lists.append(wire.value("ACL", "LIST"))
        server.stop()
        text = path.read_text()
        assert "# mine" in text or path == conf
        assert "secret" not in text
        again = start_server(*options, directory=make(tmp_path / f"{number}again"))
        with again.connect() as wire:
            assert wire.command("PING") == b"-NOAUTH Authentication required.\r\n"
            wire.command("AUTH", "p")
            # As in Redis, what is written of the default user begins at what `reset` leaves.
            assert [line.replace(b"sanitize-payload ", b"") for line in wire.value("ACL", "LIST")] == lists[-1]
    assert lists[0] == lists[1]
    assert [line.split()[1] for line in lists[0]] == [b"alice", b"carol", b"default"]


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


# --- Nobody is shown a password ---


def test_nobody_is_shown_a_password(start_server: StartServer) -> None:
    words = ("--loglevel", "debug", "--slowlog-log-slower-than", "0", "--user", "alice", "on", f">{SECRET}0", "+ping")
    server = start_server(*COMMON_OPTIONS, *words)
    with server.connect() as wire, server.connect() as monitor:
        assert monitor.command("MONITOR") == b"+OK\r\n"
        for call in (
            ("ACL", "SETUSER", "bob", "on", f">{SECRET}1"), ("ACL", "SETUSER", "bob", f"<{SECRET}1"), ("AUTH", f"{SECRET}2"),
            ("AUTH", "bob", f"{SECRET}3"), ("HELLO", 3, "AUTH", "bob", f"{SECRET}4"), ("ACL", "GETUSER", SECRET),
            ("ACL", "DELUSER", SECRET), ("CONFIG", "SET", "requirepass", f"{SECRET}5"),
        ):  # fmt: skip
            wire.command(*call)
        shown = [
            wire.command(*call.split())
            for call in ("SLOWLOG GET 100", "INFO everything", "ACL LIST", "ACL LOG", "CLIENT LIST")
        ]
        wire.command("CONFIG", "SET", "requirepass", "")
        shown.append(wire.command("CONFIG", "GET", "*"))
        wire.command("ECHO", "the end")
        shown.append(monitor.read_through(b'"the end"\r\n'))
    assert [reply for reply in shown if SECRET.encode() in reply] == []
    assert SECRET not in server.log_text()
    assert b"(redacted)" in shown[0]


# --- redis-py ---


def test_redis_py_finds_its_acl(kvserver: ServerProcess) -> None:
    with redis.Redis(port=kvserver.port, decode_responses=True) as client:
        assert client.acl_whoami() == "default"
        assert {"keyspace", "read"} <= set(client.acl_cat())
        assert "get" in client.acl_cat("read")
        assert re.fullmatch("[0-9a-f]{64}", client.acl_genpass())
        assert len(client.acl_genpass(555)) == 139
        assert client.acl_genpass() != client.acl_genpass()
        assert client.acl_setuser(
            "u", enabled=True, passwords=["+pass1", "+pass2"], categories=["+set", "+@hash", "-geo"],
            commands=["+get", "+mget", "-hset"], keys=["cache:*", "objects:*"], channels=["message:*"],
            selectors=[("+set", "%W~app*")],
        )  # fmt: skip
        user = client.acl_getuser("u")
        assert user["enabled"]
        assert user["keys"] == ["~cache:*", "~objects:*"]
        assert user["channels"] == ["&message:*"]
        assert len(user["passwords"]) == 2
        assert user["selectors"][0][1] == "-@all +set"
        assert client.acl_dryrun("u", "get", "cache:1") == "OK"
        with redis.Redis(port=kvserver.port, username="u", password="pass1", decode_responses=True) as other:
            assert other.get("cache:1") is None
            with pytest.raises(redis.exceptions.NoPermissionError):
                other.get("x")
        with pytest.raises(redis.exceptions.AuthenticationError):
            redis.Redis(port=kvserver.port, username="u", password="wrong").ping()
        entry = client.acl_log()[0]
        assert (entry["reason"], entry["username"], entry["client-info"]["cmd"]) == ("auth", "u", "hello")
        assert client.acl_log_reset()
        assert client.acl_users() == ["default", "u"]
        assert client.acl_help()
        assert client.acl_deluser("u") == 1
        assert client.acl_getuser("u") is None
