"""The scripts of a server, as commands see them: the engine has what runs them. Pure: this names no interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from kvserver.errors import CommandError
from kvserver.resp.request import Request

Caller = TypeVar("Caller", contravariant=True)

NOT_HERE = "ERR this server runs no scripts"


class ScriptFacts(NamedTuple):
    """The figures of INFO: the bytes of the interpreter and of the scripts, and the number of scripts."""

    interpreter_bytes: int = 0
    script_bytes: int = 0
    scripts: int = 0


class FunctionFacts(NamedTuple):
    """The figures of INFO: the bytes of the functions' interpreter and of their libraries, the numbers of both."""

    interpreter_bytes: int = 0
    library_bytes: int = 0
    libraries: int = 0
    functions: int = 0


class Running(NamedTuple):
    """The script or function that runs: its name, the command by which it is killed, the request that runs it, since when."""

    name: bytes
    kind: str
    request: Request
    duration_ms: int


class ScriptHost(Protocol[Caller]):
    """The side that runs scripts. `Any` stands for scripts, and for the results of commands, which the state knows not."""

    busy_error: str
    """The error for others while a script that takes long stands aside; empty if none does."""

    is_leaving: bool
    """The server leaves: a script that takes long and has not written is not waited for, but ended. Others may set this."""

    announced: list[Any]
    """The messages that show a script to monitors: a long one takes them out, and sends them before those of its calls."""

    def must_prepare(self) -> bool:
        """True if a script could not stand aside now, but could if its command ran anew."""

    async def wait(self) -> None:
        """Wait until no script stands aside."""

    by_sha: Mapping[bytes, Any]
    """The scripts by their SHA1 in lower case."""

    def load(self, body: bytes, *, stays: bool = False) -> Any:
        """The script with this body, compiled. CommandError if it is none.

        One that `stays` is never dropped to make room.
        """

    def run(self, session: Caller, request: Request, script: Any, keys: int, is_read_only: bool) -> Any:
        """Run a script for a client that has sent this request, with so many keys from its third argument on.

        Return the result. CommandError if it fails.
        """

    def flush(self) -> None:
        """Forget all scripts."""

    def kill(self, kind: str = "") -> None:
        """Let the script that stands aside end. CommandError if there is none, or if it has written.

        A `kind` is what alone may be killed: SCRIPT or FUNCTION.
        """

    @property
    def facts(self) -> ScriptFacts:
        """The figures."""

    @property
    def functions(self) -> Any:
        """The functions of libraries (`engine.functions`)."""

    @property
    def function_facts(self) -> FunctionFacts:
        """The figures of functions."""

    def running(self) -> Running | None:
        """The script that stands aside, or None."""


class NoScripts(Generic[Caller]):
    """The host where nobody can send a script."""

    busy_error = ""
    is_leaving = False
    by_sha: Mapping[bytes, Any] = {}
    facts = ScriptFacts()
    function_facts = FunctionFacts()

    def __init__(self) -> None:
        self.announced: list[Any] = []

    def running(self) -> None:
        """None: there is none."""

    @property
    def functions(self) -> Any:
        raise CommandError(NOT_HERE)

    def must_prepare(self) -> bool:
        return False

    async def wait(self) -> None:
        """There is nothing to wait for."""

    def load(self, body: bytes, *, stays: bool = False) -> Any:
        raise CommandError(NOT_HERE)

    def run(self, session: Caller, request: Request, script: Any, keys: int, is_read_only: bool) -> Any:
        raise CommandError(NOT_HERE)

    def flush(self) -> None:
        """There is nothing to forget."""

    def kill(self, kind: str = "") -> None:
        raise CommandError(NOT_HERE)
