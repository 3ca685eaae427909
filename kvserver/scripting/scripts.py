"""Scripts by their bodies and by their SHA1, compiled once; the line at a script's head that sets its flags. Pure.

Scripts are kept in memory alone, as in Redis: what a client has loaded it loads again when it hears NOSCRIPT.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

from kvserver.errors import CommandError

FLAGS: Final = frozenset({b"no-writes", b"allow-oom", b"allow-stale", b"no-cluster", b"allow-cross-slot-keys"})
# What a script takes besides its text: measured for short ones, whose function takes about 900.
OVERHEAD_BYTES: Final = 1000


class Script:
    """A script, or a function of a library: `run` has its Lua function.

    `name` is what errors call it, `kind` the command by which it is killed: SCRIPT or FUNCTION. `flags` is None for a script
    whose head says nothing: such a script may do what it likes, but for what is refused at each call.
    """

    __slots__ = ("body", "flags", "function", "kind", "name")

    def __init__(
        self, name: bytes, body: bytes, flags: frozenset[bytes] | None, function: Any, *, kind: str = "SCRIPT"
    ) -> None:
        self.name = name
        self.kind = kind
        self.body = body
        self.flags = flags
        self.function = function


class Scripts:
    """The scripts of a server. `compile` makes a function of a text, and raises CommandError with the reason alone."""

    def __init__(self, compile_text: Callable[[bytes], Any]) -> None:
        self.by_sha: dict[bytes, Script] = {}
        # Measured: to find a script by its body takes a fifth of what its SHA1 takes.
        self._by_body: dict[bytes, Script] = {}
        self._compile = compile_text

    def __len__(self) -> int:
        return len(self.by_sha)

    @property
    def size_bytes(self) -> int:
        """The memory that the texts take."""
        return sum(OVERHEAD_BYTES + len(body) for body in self._by_body)

    def of(self, body: bytes) -> Script:
        """The script with this body. CommandError if it is none."""
        script = self._by_body.get(body)
        if script is None:
            flags, text = read_head(body)
            try:
                function = self._compile(text)
            except CommandError as error:
                raise CommandError(f"ERR Error compiling script (new function): {error}") from None
            name = hashlib.sha1(body, usedforsecurity=False).hexdigest().encode()
            script = self.by_sha[name] = self._by_body[body] = Script(name, body, flags, function)
        return script

    def clear(self) -> None:
        """Forget all."""
        self.by_sha.clear()
        self._by_body.clear()


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
