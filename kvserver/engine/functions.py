"""The interpreter of function libraries. As in Redis it is another one than that of scripts: SCRIPT FLUSH leaves it alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.scripting.functions import Functions, Register
from kvserver.state.scripts import FunctionFacts
from kvserver.state.session import ServerState

if TYPE_CHECKING:
    from kvserver.scripting.interpreter import Host, Interpreter

# A library may take no longer to be loaded.
LOAD_TIMEOUT_S: Final = 0.5
LOAD_TIMEOUT: Final = b"ERR FUNCTION LOAD timeout"


class FunctionRunner:
    """The functions of a server, and the host of their interpreter: what it asks is asked of the host of the scripts.

    `make` makes an interpreter for a host. CommandError if it can't.
    """

    def __init__(self, state: ServerState, host: Host, make: Callable[[Host], Interpreter]) -> None:
        self._state = state
        self._host = host
        self._make = make
        self._interpreter: Interpreter | None = None
        # The time by which the library that is being loaded has to end, by the performance counter.
        self._ends_at_s: float | None = None
        self.registry = Functions(state.databases.libraries, self._load)

    def interpreter(self) -> Interpreter:
        """The interpreter, made if there is none. CommandError if it can't be."""
        interpreter = self._interpreter
        if interpreter is None:
            interpreter = self._interpreter = self._make(self)
        return interpreter

    def flush(self) -> None:
        """Remove all libraries, and what they have left in the interpreter."""
        self.registry.clear()
        self._interpreter = None

    def limit_memory(self) -> None:
        """Let the limit of memory that is configured now hold."""
        if self._interpreter:
            self._interpreter.limit_memory(self._state.config.lua_memory_limit)

    @property
    def facts(self) -> FunctionFacts:
        """The figures of INFO."""
        texts = self._state.databases.libraries
        if not texts:
            return FunctionFacts(self._interpreter.used_bytes if self._interpreter else 0)
        try:
            self.interpreter()
        # They are kept, and can't be run.
        except CommandError:
            return FunctionFacts(libraries=len(texts))
        registry = self.registry
        return FunctionFacts(
            self.interpreter().used_bytes, registry.size_bytes, len(registry.libraries), registry.function_count
        )

    def _load(self, code: bytes, register: Register) -> None:
        """Run the code of a library. CommandError if it fails."""
        interpreter = self.interpreter()
        self._ends_at_s = time.perf_counter() + LOAD_TIMEOUT_S
        try:
            interpreter.load_library(code, register)
        finally:
            self._ends_at_s = None

    # What the interpreter asks (`scripting.interpreter.Host`)

    def look(self) -> bytes | None:
        """Look at the clock."""
        if self._ends_at_s is None:
            return self._host.look()
        return LOAD_TIMEOUT if time.perf_counter() > self._ends_at_s else None

    def call(self, request: Request) -> Reply:
        """Run a call of a function."""
        return self._host.call(request)

    def set_protocol(self, protocol: int) -> None:
        """Let replies to the function be those of this protocol."""
        self._host.set_protocol(protocol)

    def log(self, level: int, text: bytes) -> None:
        """Log a line of a function."""
        self._host.log(level, text)

    def may_call(self, request: Request) -> bool | None:
        """True if the function may call this; None if there is no such command."""
        return self._host.may_call(request)

    def note_error(self, text: bytes, is_counted: bool) -> None:
        """Take notice of an error that a function replies."""
        self._host.note_error(text, is_counted)
