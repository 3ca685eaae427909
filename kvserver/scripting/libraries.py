"""The libraries of Lua that scripts have in Redis: cjson, cmsgpack, struct, bit. Each is a file beside this one.

They are plain Lua 5.1, so that the limits of time and memory hold inside them, too, and no object of Python comes near a
script. They do what redis-server's libraries in C do, to the texts of their errors.
"""

from __future__ import annotations

import os
from typing import Any, Final

from kvserver import scripting

# The order in which the sandbox is given them.
LIBRARIES: Final = ("cjson", "cmsgpack", "struct", "bit")


def secret_name() -> bytes:
    """A name for code, as Lua knows it, that no script can guess: it could pass for that code otherwise.

    Lua's texts show 59 bytes of a name, so that who has seen them all doesn't know it yet.
    """
    return b"=kvserver " + os.urandom(64).hex().encode()


# The name of their code. It is another than the sandbox's, whose frames are left alone where a script has to end: these
# functions may run for long.
CHUNK_NAME: Final = secret_name()


def read_source(name: str) -> bytes:
    """The text of a file of Lua that stands beside this module."""
    # Measured: to import importlib.resources takes longer than all else that the first script waits for.
    with open(os.path.join(scripting.__path__[0], f"{name}.lua"), "rb") as file:
        return file.read()


def load_libraries(runtime: Any) -> tuple[Any, ...]:
    """The tables of the four libraries, made in a runtime of lupa that has all of Lua's globals and no encoding."""
    getinfo = runtime.globals()[b"debug"][b"getinfo"]
    tools = (*_run(runtime, "failures", getinfo), *_run(runtime, "bytes"))
    return tuple(_run(runtime, name, *tools) for name in LIBRARIES)


def _run(runtime: Any, name: str, *arguments: Any) -> Any:
    """What the code of a file returns."""
    return runtime.compile(read_source(name), name=CHUNK_NAME)(*arguments)
