"""The interpreter: Lua 5.1 by way of lupa, with the sandbox in it. It compiles scripts and runs them, one at a time.

It is made when the first script comes, since lupa and a runtime take time and memory which a server without scripts keeps.
What lupa does, measured, and the answers to it:

- Its `execute_lua_call` reads the global `debug` outside any protected call: an `__index` that fails there ends the process.
  So the real globals stay plain, and scripts have an environment of their own.
- A push into Lua that finds no memory ends the process, or hangs it. So the allocator's limit lies RESERVE_BYTES above the
  one that this module looks at before each push.
- An exception that leaves a callable comes to `pcall` as an object through which all of Python can be reached. So the
  callables here catch everything, and give (text, kind).
- A tail call of a Lua function loses the caller's line: see `bytecode`.

Nothing here knows the server: whoever makes an interpreter is its host.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable
from typing import Any, Final, NoReturn, Protocol

from lupa import lua51

from kvserver.errors import CommandError
from kvserver.resp.reply import Encoded, Reply
from kvserver.resp.request import Request
from kvserver.scripting.bytecode import without_tail_calls
from kvserver.scripting.libraries import CHUNK_NAME as LIBRARIES_NAME
from kvserver.scripting.libraries import LIBRARIES, load_libraries, read_source, secret_name
from kvserver.scripting.randomness import Randomness
from kvserver.scripting.values import DEAD, MISUSE, VALUE_BYTES, size_of, to_lua

RESERVE_BYTES: Final = 4 << 20
# The compiler takes no more for each byte of a script.
COMPILED_BYTES: Final = 32
# With more words than this, KEYS and ARGV go over as tables.
FLAT_WORDS: Final = 200
MAX_INTEGER: Final = 2**63
# Lua's %.17g of greater numbers has an exponent.
PLAIN_INTEGER: Final = 10**17
# The sandbox, in the order in which it is loaded.
SANDBOX: Final = ("calls", "guard", "frozen", "globals", "redis", "replies", "functions", "run")
CHUNK_NAME: Final = secret_name()
SCRIPT_NAME: Final = b"@user_script"
LIBRARY_NAME: Final = b"@user_function"
OUT_OF_MEMORY: Final = b"ERR not enough memory"
BAD_ARGUMENTS: Final = b"ERR Lua redis lib command arguments must be strings or integers"
NO_ARGUMENTS: Final = b"ERR Please specify at least one argument for this redis lib call"

# What run.lua gives besides plain values.
_RAW: Final = 1
_FAILED: Final = 2

_log = logging.getLogger("kvserver")


class Host(Protocol):
    """The side that an interpreter's scripts talk to."""

    def call(self, request: Request) -> Reply:
        """Run a command of the script that runs. An error is a reply, too."""

    def set_protocol(self, protocol: int) -> None:
        """Let replies to the script be those of this protocol: 2 when a script begins."""

    def look(self) -> bytes | None:
        """Look at the clock; let others run meanwhile. The text of an error, if the script has to end by it."""

    def log(self, level: int, text: bytes) -> None:
        """Log a line of a script: the level is 0 for debug to 3 for a warning."""

    def may_call(self, request: Request) -> bool | None:
        """True if the script may call this; None if there is no such command."""

    def note_error(self, text: bytes, is_counted: bool) -> None:
        """Take notice of an error that a script replies. It `is_counted` if a command has replied it before."""


class Interpreter:
    """One state of Lua, in which scripts may take `limit_bytes` of memory together. Each text of an error is bytes."""

    def __init__(self, host: Host, limit_bytes: int, version: str, randomness: Randomness | None = None) -> None:
        self.limit_bytes = limit_bytes
        self._host = host
        self._call_host = host.call
        self._protocol = 2
        self._runtime = runtime = lua51.LuaRuntime(
            encoding=None,
            attribute_filter=_refuse_attribute,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            max_memory=0,
        )
        self._used_bytes = runtime.get_memory_used
        self._make_table = runtime.table_from
        self._dump = runtime.eval(b"string.dump")
        randomness = randomness or Randomness()
        major, minor, patch = map(int, version.split("."))
        self.kit = self._load("kit")(
            self._call,
            self._call_many,
            _contained(host.look),
            _contained(self._set_protocol),
            _contained(host.log),
            _contained(_sha1),
            _contained(randomness.next),
            _contained(randomness.seed),
            _contained(self._may_call),
            _contained(host.note_error),
            version.encode(),
            major << 16 | minor << 8 | patch,
        )
        tables = zip(map(str.encode, LIBRARIES), load_libraries(runtime), strict=True)
        self.kit[b"libraries"], self.kit[b"libraries_name"] = self._make_table(dict(tables)), LIBRARIES_NAME
        for name in SANDBOX:
            entries = self._load(name, LIBRARIES_NAME if name == "replies" else CHUNK_NAME)(self.kit)
        self._run, self._run_tables, self._call_words, self._call_tables, self._prepare = entries
        self._collect()

    @property
    def used_bytes(self) -> int:
        """The memory that Lua takes now."""
        return int(self._used_bytes())

    def _load(self, name: str, chunk_name: bytes = CHUNK_NAME) -> Any:
        """A file of the sandbox as a function."""
        return self._compile(read_source(name), chunk_name)

    def _compile(self, text: bytes, name: bytes) -> Any:
        function = self._runtime.compile(text, name=name)
        if b"return" in text:
            function = self._runtime.compile(without_tail_calls(self._dump(function)), name=name)
        return function

    def limit_memory(self, limit_bytes: int) -> None:
        """Let another limit hold."""
        self.limit_bytes = limit_bytes
        self._comfortable_bytes = limit_bytes // 2
        self._limit_memory(self._used_bytes())

    def _collect(self) -> None:
        """Clear away what scripts have left."""
        self._runtime.gccollect()
        self._limit_memory()
        # With more than this it is done before the next script. It takes long where much is kept: so much has to come anew.
        grown_bytes = self._used_bytes() + self.limit_bytes // 4
        self._comfortable_bytes = min(max(self.limit_bytes // 2, grown_bytes), self.limit_bytes)

    def _limit_memory(self, least_bytes: int = 0) -> None:
        self._runtime.set_max_memory(max(self.limit_bytes, least_bytes) + RESERVE_BYTES, total=True)

    # Scripts

    def compile(self, text: bytes, name: bytes = SCRIPT_NAME) -> Any:
        """The function of a script. CommandError, with the compiler's text alone, for what is none."""
        # The compiler would run bytecode.
        if text.startswith(b"\x1b"):
            raise CommandError(f"{name[1:].decode()}:1: unexpected symbol near 'char(27)'")
        if self._used_bytes() > self._comfortable_bytes:
            self._collect()
        self._limit_memory(self._used_bytes() + COMPILED_BYTES * len(text))
        try:
            return self._prepare(self._compile(text, name))
        except (lua51.LuaSyntaxError, lua51.LuaMemoryError) as error:
            reason = error.args[0] if error.args else b"not enough memory"
            raise CommandError(reason.decode("utf-8", "surrogateescape")) from None
        finally:
            self._limit_memory()

    def load_library(self, code: bytes, register: Callable[..., bytes | None]) -> None:
        """Run the code of a library, which registers its functions. CommandError if it fails."""

        def register_safely(*arguments: Any) -> bytes | None:
            try:
                return register(*arguments)
            except BaseException:
                _log.exception("a function could not be registered: this is a defect of kvserver")
                return b"internal error, see the log"

        try:
            function = self.compile(code, LIBRARY_NAME)
        except CommandError as error:
            raise CommandError(f"ERR Error compiling function: {error}") from None
        try:
            text = self.kit[b"load_library"](function, register_safely)
        except lua51.LuaError as error:
            self._collect()
            text = OUT_OF_MEMORY if isinstance(error, lua51.LuaMemoryError) else b"ERR the code could not be run"
        if text:
            raise CommandError(f"ERR Error registering functions: {text.decode('utf-8', 'surrogateescape')}")

    def run(self, function: Any, name: bytes, words: Request, keys: int, protocol: int, *, of_library: bool = False) -> Reply:
        """Run a script, whose errors call it by this name, on words of which so many are keys.

        CommandError if it fails. Its reply is for a client of this protocol. A function `of_library` gets keys and arguments
        as its own arguments.
        """
        size = 2 * (VALUE_BYTES * len(words) + sum(map(len, words)))
        if self._used_bytes() + size > self._comfortable_bytes and not self._make_room(size):
            raise CommandError(OUT_OF_MEMORY.decode())
        self._protocol = 2
        try:
            if len(words) <= FLAT_WORDS:
                result = (self._call_words if of_library else self._run)(function, protocol, keys, *words)
            else:
                tables = self._make_table(words[:keys]), self._make_table(words[keys:])
                result = (self._call_tables if of_library else self._run_tables)(function, protocol, *tables)
        except lua51.LuaMemoryError:
            self._collect()
            self.kit[b"start"]()
            raise CommandError(f"{OUT_OF_MEMORY.decode()} script: {name.decode()}, on @user_script.") from None
        except lua51.LuaError as error:
            # It has ended behind the protected call, where nobody else forgets that it had to.
            self.kit[b"start"]()
            raise CommandError(f"ERR Error running script {name.decode()}, {str(error)[:100]}") from None
        kind = type(result)
        if kind is bytes or result is None:
            return result  # type: ignore[no-any-return]
        if kind is int or kind is float:
            return int(result) if -MAX_INTEGER <= result < MAX_INTEGER else -MAX_INTEGER
        if result[0] == _RAW:
            return Encoded(result[1])
        return self._fail(name, *result[1:])

    def _fail(self, name: bytes, text: bytes, source: Any = None, line: Any = None, is_counted: Any = None) -> Reply:
        """Raise the error of a script; or return it as a reply, if it was counted when a command replied it."""
        # A script can have set these itself.
        if type(source) is bytes and type(line) is int:
            text = b"%b script: %b, on %b:%d." % (text, name, source, line)
        if not is_counted:
            raise CommandError(text.decode("utf-8", "surrogateescape"))
        self._host.note_error(text, True)
        return Encoded(b"-%b\r\n" % text.replace(b"\r", b" ").replace(b"\n", b" "))

    def _make_room(self, size: int) -> bool:
        self._collect()
        return bool(self._used_bytes() + size <= self.limit_bytes)

    # What the sandbox calls

    def _call(self, *words: Any) -> Any:
        try:
            for word in words:
                if type(word) is not bytes:
                    words = _texts(words)
                    break
            if not words:
                return NO_ARGUMENTS, MISUSE
            reply = self._call_host(list(words))
            kind = type(reply)
            if kind is int:
                return reply
            if kind is bytes:
                if self._used_bytes() + len(reply) > self.limit_bytes and not self._make_room(len(reply)):  # type: ignore[arg-type]
                    return self._full()
                return reply
            if reply is None:
                return False if self._protocol == 2 else None
            size = size_of(reply)
            if self._used_bytes() + size > self.limit_bytes and not self._make_room(size):
                return self._full()
            return to_lua(reply, self._protocol, self._make_table)
        except CommandError as error:
            return str(error).encode("utf-8", "surrogateescape"), MISUSE
        except BaseException:
            _log.exception("a call of a script failed: this is a defect of kvserver")
            return b"ERR internal error, see the log", MISUSE

    def _call_many(self, table: Any, count: int) -> Any:
        try:
            words = _taken(table, count)
        except BaseException:
            _log.exception("the words of a call could not be taken: this is a defect of kvserver")
            return b"ERR internal error, see the log", MISUSE
        return self._call(*words)

    def _full(self) -> tuple[bytes, int]:
        # The script has to end, and what ends it takes memory, too.
        self._limit_memory(self._used_bytes())
        return OUT_OF_MEMORY, DEAD

    def _set_protocol(self, protocol: int) -> None:
        self._protocol = int(protocol)
        self._host.set_protocol(self._protocol)

    def _may_call(self, table: Any, count: int) -> bool | None:
        return self._host.may_call(list(_texts(_taken(table, count))))


def _contained(callable_: Callable[..., Any]) -> Callable[..., Any]:
    """The same callable, out of which no exception comes: a script could get at all of Python by it."""

    def contained(*arguments: Any) -> Any:
        try:
            return callable_(*arguments)
        except BaseException:
            _log.exception("a script's call of %s failed: this is a defect of kvserver", callable_)
            return None

    return contained


def _taken(table: Any, count: int) -> tuple[Any, ...]:
    """The items of a table that the sandbox has made of so many words: it has no metatable, by which a script would run."""
    return tuple(table[place] for place in range(1, count + 1))


def _texts(words: tuple[Any, ...]) -> tuple[bytes, ...]:
    """The words of a call. CommandError if one is no text and no number."""
    texts: list[bytes] = []
    for word in words:
        kind = type(word)
        if kind is bytes:
            texts.append(word)
        elif kind is int and -PLAIN_INTEGER < word < PLAIN_INTEGER:
            texts.append(b"%d" % word)
        elif kind is int or kind is float:
            # C tells the sign of what is no number.
            texts.append(b"-nan" if word != word and math.copysign(1, word) < 0 else b"%.17g" % word)
        else:
            raise CommandError(BAD_ARGUMENTS.decode())
    return tuple(texts)


def _sha1(text: bytes) -> bytes:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


def _refuse_attribute(_object: object, _name: object, _is_setting: bool) -> NoReturn:
    raise AttributeError("no attributes")
