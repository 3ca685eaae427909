"""FUNCTION, FCALL and FCALL_RO: libraries of functions, which are kept as the data is.

A replay keeps the texts alone, so that it needs no interpreter. What the functions are is the business of `functions`; the
engine runs them.
"""

from __future__ import annotations

from typing import Final

from kvserver.dispatch.arguments import integer
from kvserver.dispatch.command import command, container, excerpt, help_lines
from kvserver.dispatch.effect import Effect
from kvserver.errors import CommandError, DumpInvalid
from kvserver.formats import function_dump
from kvserver.patterns import matcher
from kvserver.resp.reply import OK, Reply, SetOf, Simple
from kvserver.resp.request import Request
from kvserver.scripting.functions import ENGINE, NO_LIBRARY, Library, read_head
from kvserver.state.session import Session

# The part of `lua-memory-limit` up to which a payload may have compressed texts: many times what libraries have.
COMPRESSED_PART: Final = 32

_KEYS_OF_FUNCTION = "We cannot tell how the keys will be used so we assume the worst, {}"
_BAD_COUNT = "ERR Bad number of keys provided"


def _call(session: Session, request: Request, *, is_read_only: bool) -> Reply | Effect:
    scripts = session.server.scripts
    function = scripts.functions.registry.find(request[1])
    if function is None:
        raise CommandError("ERR Function not found")
    count = 1 if request[2] == b"1" and len(request) > 3 else integer(request[2], _BAD_COUNT)
    if count > len(request) - 3:
        raise CommandError("ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise CommandError("ERR Number of keys can't be negative")
    result: Reply | Effect = scripts.run(session, request, function, count, is_read_only)
    return result


@command("fcall", "function numkeys:integer key:key?+ arg?+", "noscript stale skip_monitor no_mandatory_keys",
         access="RW access update", key_notes=(_KEYS_OF_FUNCTION.format("RW and UPDATE"),),
         since="7.0.0", group="scripting", complexity="Depends on the function that is executed.",
         summary="Invoke a function",
         may_replicate=True)  # fmt: skip
def fcall(session: Session, request: Request) -> Reply | Effect:
    return _call(session, request, is_read_only=False)


@command("fcall_ro", "function numkeys:integer key:key?+ arg?+", "readonly noscript stale skip_monitor no_mandatory_keys",
         access="RO access", key_notes=(_KEYS_OF_FUNCTION.format("RO and ACCESS"),),
         since="7.0.0", group="scripting", complexity="Depends on the function that is executed.",
         summary="Invoke a read-only function")  # fmt: skip
def fcall_ro(session: Session, request: Request) -> Reply | Effect:
    return _call(session, request, is_read_only=True)


# --- FUNCTION ---

function = container("function", since="7.0.0", group="scripting", summary="A container for function commands")


def _wrong_syntax(request: Request) -> CommandError:
    shown = excerpt(request[1])
    return CommandError(f"ERR unknown subcommand or wrong number of arguments for '{shown}'. Try FUNCTION HELP.")


@command("function|load", "REPLACE? function-code", "write denyoom noscript",
         since="7.0.0", group="scripting", complexity="O(1) (considering compilation time is redundant)",
         tips="request_policy:all_shards response_policy:all_succeeded",
         summary="Create a function with the given arguments (name, code, description)")  # fmt: skip
def load(session: Session, request: Request) -> Reply:
    replaces = False
    for word in request[2:-1]:
        if word.upper() != b"REPLACE":
            raise CommandError(f"ERR Unknown option given: {word.decode('utf-8', 'surrogateescape')}")
        replaces = True
    text = request[-1]
    if session.is_replay:
        name = read_head(text).name
        session.server.databases.libraries.put(name, text)
        return name
    return bytes(session.server.scripts.functions.registry.load(text, replaces=replaces))


@command("function|delete", "library-name", "write noscript",
         since="7.0.0", group="scripting", complexity="O(1)",
         tips="request_policy:all_shards response_policy:all_succeeded",
         summary="Delete a function by name")  # fmt: skip
def delete(session: Session, request: Request) -> Reply:
    if session.is_replay:
        libraries = session.server.databases.libraries
        if libraries.get(request[2]) is None:
            raise CommandError(NO_LIBRARY)
        libraries.remove(request[2])
    else:
        session.server.scripts.functions.registry.delete(request[2])
    return OK


@command("function|flush", "async<ASYNC|SYNC>?", "write noscript",
         since="7.0.0", group="scripting", complexity="O(N) where N is the number of functions deleted",
         tips="request_policy:all_shards response_policy:all_succeeded",
         summary="Deleting all functions")  # fmt: skip
def flush(session: Session, request: Request) -> Reply:
    if len(request) > 3:
        raise _wrong_syntax(request)
    if len(request) == 3 and request[2].upper() not in (b"ASYNC", b"SYNC"):
        raise CommandError("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
    if session.is_replay:
        session.server.databases.libraries.clear()
    else:
        session.server.scripts.functions.flush()
    return OK


def _told(library: Library, *, with_code: bool) -> Reply:
    functions: list[Reply] = [
        {
            b"name": each.name,
            b"description": each.description,
            b"flags": SetOf(map(Simple, map(bytes.decode, each.flags_in_order))),
        }
        for each in library.functions.values()
    ]
    code: dict[Reply, Reply] = {b"library_code": library.text} if with_code else {}
    return {b"library_name": library.name, b"engine": ENGINE, b"functions": functions, **code}


@command("function|list", "LIBRARYNAME=library-name-pattern? WITHCODE?", "noscript",
         since="7.0.0", group="scripting", complexity="O(N) where N is the number of functions",
         tips="nondeterministic_output_order",
         summary="List information about all the functions")  # fmt: skip
def list_(session: Session, request: Request) -> Reply:
    pattern: bytes | None = None
    with_code = False
    words = iter(request[2:])
    for word in words:
        if word.upper() == b"WITHCODE" and not with_code:
            with_code = True
        elif word.upper() == b"LIBRARYNAME" and pattern is None:
            pattern = next(words, None)
            if pattern is None:
                raise CommandError("ERR library name argument was not given")
        else:
            raise CommandError(f"ERR Unknown argument {word.decode('utf-8', 'surrogateescape')}")
    matches = matcher(pattern, ignore_case=True) if pattern is not None else None
    libraries = session.server.scripts.functions.registry.libraries.values()
    return [_told(each, with_code=with_code) for each in libraries if matches is None or matches(each.name)]


@command("function|stats", "", "noscript allow_busy",
         since="7.0.0", group="scripting", complexity="O(1)",
         tips="nondeterministic_output request_policy:all_shards response_policy:special",
         summary="Return information about the function currently running (name, description, duration)")  # fmt: skip
def stats(session: Session, request: Request) -> Reply:
    scripts = session.server.scripts
    running = scripts.running()
    if running and running.kind != "FUNCTION":
        raise CommandError(scripts.busy_error)
    facts = scripts.functions.facts
    return {
        b"running_script": running
        and {b"name": running.name, b"command": list(running.request), b"duration_ms": running.duration_ms},
        b"engines": {ENGINE: {b"libraries_count": facts.libraries, b"functions_count": facts.functions}},
    }


@command("function|kill", "", "noscript allow_busy",
         since="7.0.0", group="scripting", complexity="O(1)",
         tips="request_policy:all_shards response_policy:one_succeeded",
         summary="Kill the function currently in execution.")  # fmt: skip
def kill(session: Session, request: Request) -> Reply:
    session.server.scripts.kill("FUNCTION")
    return OK


@command("function|dump", "", "noscript",
         since="7.0.0", group="scripting", complexity="O(N) where N is the number of functions",
         summary="Dump all functions into a serialized binary payload")  # fmt: skip
def dump(session: Session, request: Request) -> Reply:
    return function_dump.dump(session.server.databases.libraries.copy().values())


@command("function|restore", "serialized-value policy<FLUSH|APPEND|REPLACE>?", "write denyoom noscript",
         since="7.0.0", group="scripting", complexity="O(N) where N is the number of functions on the payload",
         tips="request_policy:all_shards response_policy:all_succeeded",
         summary="Restore all the functions on the given payload")  # fmt: skip
def restore(session: Session, request: Request) -> Reply:
    if len(request) > 4:
        raise _wrong_syntax(request)
    policy = request[3].upper().decode("utf-8", "replace") if len(request) == 4 else "APPEND"
    if policy not in ("FLUSH", "APPEND", "REPLACE"):
        raise CommandError("ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.")
    # As in Redis, each library is made before the next one is read: the first fault is the one that is told.
    texts = function_dump.load(request[2], session.server.config.lua_memory_limit // COMPRESSED_PART)
    try:
        session.server.scripts.functions.registry.restore(texts, policy)
    except DumpInvalid as error:
        raise CommandError(f"ERR {error}") from None
    return OK


@command("function|help", "", "loading stale",
         since="7.0.0", group="scripting", complexity="O(1)",
         summary="Show helpful text about the different subcommands")  # fmt: skip
def help_(session: Session, request: Request) -> Reply:
    return help_lines("FUNCTION", """\
LOAD [REPLACE] <FUNCTION CODE>
    Create a new library with the given library name and code.
DELETE <LIBRARY NAME>
    Delete the given library.
LIST [LIBRARYNAME PATTERN] [WITHCODE]
    Return general information on all the libraries:
    * Library name
    * The engine used to run the Library
    * Library description
    * Functions list
    * Library code (if WITHCODE is given)
    It also possible to get only function that matches a pattern using LIBRARYNAME argument.
STATS
    Return information about the current function running:
    * Function name
    * Command used to run the function
    * Duration in MS that the function is running
    If no function is running, return nil
    In addition, returns a list of available engines.
KILL
    Kill the current running function.
FLUSH [ASYNC|SYNC]
    Delete all the libraries.
    When called without the optional mode argument, the behavior is determined by the
    lazyfree-lazy-user-flush configuration directive. Valid modes are:
    * ASYNC: Asynchronously flush the libraries.
    * SYNC: Synchronously flush the libraries.
DUMP
    Return a serialized payload representing the current libraries, can be restored using FUNCTION RESTORE command
RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]
    Restore the libraries represented by the given payload, it is possible to give a restore policy to
    control how to handle existing libraries (default APPEND):
    * FLUSH: delete all existing libraries.
    * APPEND: appends the restored libraries to the existing libraries. On collision, abort.
    * REPLACE: appends the restored libraries to the existing libraries, On collision, replace the old
      libraries with the new libraries (notice that even on this option there is a chance of failure
      in case of functions name collision with another library).""")  # fmt: skip
