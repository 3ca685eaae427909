"""Scripts by their bodies and by their SHA1, compiled once; the line at a script's head that sets its flags. Pure.

Scripts are kept in memory alone, as in Redis: what a client has loaded it loads again when it hears NOSCRIPT. Those that EVAL
brought are dropped where they are too many, as in Redis 7.4: a program that writes values into its texts makes ever new ones.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from kvserver.errors import CommandError

FLAGS: Final = frozenset({b"no-writes", b"allow-oom", b"allow-stale", b"no-cluster", b"allow-cross-slot-keys"})
# What a script takes besides its text: measured for short ones, whose function takes about 900.
OVERHEAD_BYTES: Final = 1000
# What Lua takes for each byte of a text: measured, 2 to 3 for usual scripts, and up to 10 for what is made of constants alone.
LUA_BYTES: Final = 4
# The parts of `limit_bytes` that all scripts may take, and those that EVAL brought: the rest is for what scripts make.
PART: Final = 2
BROUGHT_PART: Final = 8
FULL: Final = (
    "ERR Error compiling script (new function): not enough memory: what SCRIPT LOAD brought takes its part of lua-memory-limit"
)
# So many scripts that were used again may be passed over before one is dropped, so that no script waits for long.
CHANCES: Final = 100


class Script:
    """A script, or a function of a library: `run` has its Lua function.

    `name` is what errors call it, `kind` the command by which it is killed: SCRIPT or FUNCTION. `flags` is None for a script
    whose head says nothing: such a script may do what it likes, but for what is refused at each call. A script `is_loaded` if
    SCRIPT LOAD named it, and `is_used` if it was used again since somebody last looked for what to drop.
    """

    __slots__ = ("body", "flags", "function", "is_loaded", "is_used", "kind", "name")

    def __init__(
        self, name: bytes, body: bytes, flags: frozenset[bytes] | None, function: Any, *, kind: str = "SCRIPT"
    ) -> None:
        self.name = name
        self.kind = kind
        self.body = body
        self.flags = flags
        self.function = function
        self.is_loaded = False
        self.is_used = False

    @property
    def size_bytes(self) -> int:
        """The memory that it takes, with what Lua has of it: an estimate."""
        return OVERHEAD_BYTES + (1 + LUA_BYTES) * len(self.body)


class Scripts:
    """The scripts of a server, whose Lua may take `limit_bytes`.

    `compile_text` makes a function of a text, and raises CommandError with the reason alone.
    """

    def __init__(self, compile_text: Callable[[bytes], Any], limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.by_sha: dict[bytes, Script] = {}
        # Measured: to find a script by its body takes a fifth of what its SHA1 takes.
        self._by_body: dict[bytes, Script] = {}
        # Those that EVAL brought, roughly in the order of their last use, and what they take.
        self._brought: OrderedDict[bytes, Script] = OrderedDict()
        self._brought_bytes = 0
        self._loaded_bytes = 0
        self._compile = compile_text

    def __len__(self) -> int:
        return len(self.by_sha)

    @property
    def size_bytes(self) -> int:
        """The memory that the texts take."""
        return sum(OVERHEAD_BYTES + len(body) for body in self._by_body)

    def of(self, body: bytes) -> Script:
        """The script with this body, for EVAL. CommandError if it is none."""
        script = self._by_body.get(body)
        if script is None:
            script = self._make(body)
            self._brought[script.name] = script
            self._brought_bytes += script.size_bytes
            self._drop()
        else:
            script.is_used = True
        return script

    def load(self, body: bytes) -> Script:
        """The script with this body, which is never dropped. CommandError if it is none, or there are too many of these."""
        script = self._by_body.get(body)
        if script and script.is_loaded:
            return script
        if self._loaded_bytes + (1 + LUA_BYTES) * len(body) > self.limit_bytes // PART:
            raise CommandError(FULL)
        script = script or self._make(body)
        if self._brought.pop(script.name, None):
            self._brought_bytes -= script.size_bytes
        script.is_loaded = True
        self._loaded_bytes += script.size_bytes
        return script

    def _make(self, body: bytes) -> Script:
        flags, text = read_head(body)
        try:
            function = self._compile(text)
        except CommandError as error:
            raise CommandError(f"ERR Error compiling script (new function): {error}") from None
        name = hashlib.sha1(body, usedforsecurity=False).hexdigest().encode()
        script = self.by_sha[name] = self._by_body[body] = Script(name, body, flags, function)
        return script

    def _drop(self) -> None:
        """Drop what was not used for long, down to the part of the memory. What came last stays."""
        chances = CHANCES
        while self._brought_bytes > self.limit_bytes // BROUGHT_PART and len(self._brought) > 1:
            name, script = self._brought.popitem(last=False)
            if script.is_used and chances:
                chances -= 1
                script.is_used = False
                self._brought[name] = script
            else:
                self._brought_bytes -= script.size_bytes
                del self.by_sha[name], self._by_body[script.body]


def read_head(body: bytes) -> tuple[frozenset[bytes] | None, bytes]:
    """The flags that the first line of a script sets, as in `#!lua flags=no-writes,allow-oom`, and the text to compile.

    CommandError for a head that says something else.
    """
    if not body.startswith(b"#!"):
        return None, body
    head, newline, text = body.partition(b"\n")
    if not newline:
        raise CommandError("ERR Invalid script shebang")
    engine, *options = head.split()
    if engine != b"#!lua":
        raise CommandError(f"ERR Unexpected engine in script shebang: {_shown(engine)}")
    flags: set[bytes] = set()
    for option in options:
        name, is_set, words = option.partition(b"=")
        if name != b"flags" or not is_set:
            raise CommandError(f"ERR Unknown lua shebang option: {_shown(option)}")
        for flag in words.split(b",") if words else ():
            if flag not in FLAGS:
                raise CommandError(f"ERR Unexpected flag in script shebang: {_shown(flag)}")
            flags.add(flag)
    # The first line stays, so that errors name the lines that the author sees.
    return frozenset(flags), newline + text


def _shown(word: bytes) -> str:
    return word.decode("utf-8", "surrogateescape")
