"""EVAL, EVALSHA, their read-only forms, and SCRIPT. The engine runs the scripts (`engine.scripts`); this finds and refuses."""

from __future__ import annotations

from typing import Any, Final

from kvserver.dispatch.arguments import integer
from kvserver.dispatch.command import command, container, help_lines
from kvserver.dispatch.effect import Effect
from kvserver.errors import CommandError
from kvserver.resp.reply import OK, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session

SHA_LENGTH: Final = 40
NO_SCRIPT: Final = "NOSCRIPT No matching script. Please use EVAL."
NO_DEBUGGER: Final = "ERR kvserver has no debugger for scripts"

_KEYS_OF_SCRIPT = "We cannot tell how the keys will be used so we assume the worst, {}"


def count_of_keys(request: Request) -> int:
    """The number of keys of a call of a script. CommandError for what can't be one."""
    # Measured: most calls have one key, or none.
    if request[2] == b"1" and len(request) > 3:
        return 1
    if request[2] == b"0":
        return 0
    count = integer(request[2])
    if count > len(request) - 3:
        raise CommandError("ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise CommandError("ERR Number of keys can't be negative")
    return count


def _script_by_sha(session: Session, request: Request) -> Any:
    scripts = session.server.scripts.by_sha
    script = scripts.get(request[1])
    if script is None and len(request[1]) == SHA_LENGTH:
        count_of_keys(request)
        script = scripts.get(request[1].lower())
    if script is None:
        raise CommandError(NO_SCRIPT)
    script.is_used = True
    return script


@command("eval", "script numkeys:integer key:key?+ arg?+", "noscript stale skip_monitor no_mandatory_keys",
         access="RW access update", key_notes=(_KEYS_OF_SCRIPT.format("RW and UPDATE"),),
         since="2.6.0", group="scripting", complexity="Depends on the script that is executed.",
         summary="Execute a Lua script server side",
         may_replicate=True)  # fmt: skip
def eval_(session: Session, request: Request) -> Reply | Effect:
    count, scripts = count_of_keys(request), session.server.scripts
    result: Reply | Effect = scripts.run(session, request, scripts.load(request[1]), count, False)
    return result


@command("evalsha", "sha1 numkeys:integer key:key?+ arg?+", "noscript stale skip_monitor no_mandatory_keys",
         access="RW access update",
         since="2.6.0", group="scripting", complexity="Depends on the script that is executed.",
         summary="Execute a Lua script server side",
         may_replicate=True)  # fmt: skip
def evalsha(session: Session, request: Request) -> Reply | Effect:
    script = _script_by_sha(session, request)
    result: Reply | Effect = session.server.scripts.run(session, request, script, count_of_keys(request), False)
    return result


@command("eval_ro", "script numkeys:integer key:key?+ arg?+", "readonly noscript stale skip_monitor no_mandatory_keys",
         access="RO access", key_notes=(_KEYS_OF_SCRIPT.format("RO and ACCESS"),),
         since="7.0.0", group="scripting", complexity="Depends on the script that is executed.",
         summary="Execute a read-only Lua script server side")  # fmt: skip
def eval_ro(session: Session, request: Request) -> Reply | Effect:
    count, scripts = count_of_keys(request), session.server.scripts
    result: Reply | Effect = scripts.run(session, request, scripts.load(request[1]), count, True)
    return result


@command("evalsha_ro", "sha1 numkeys:integer key:key?+ arg?+", "readonly noscript stale skip_monitor no_mandatory_keys",
         access="RO access",
         since="7.0.0", group="scripting", complexity="Depends on the script that is executed.",
         summary="Execute a read-only Lua script server side")  # fmt: skip
def evalsha_ro(session: Session, request: Request) -> Reply | Effect:
    script = _script_by_sha(session, request)
    result: Reply | Effect = session.server.scripts.run(session, request, script, count_of_keys(request), True)
    return result


# --- SCRIPT ---

script = container("script", since="2.6.0", group="scripting", summary="A container for Lua scripts management commands")


@command("script|load", "script", "noscript stale",
         since="2.6.0", group="scripting", complexity="O(N) with N being the length in bytes of the script body.",
         tips="request_policy:all_nodes response_policy:all_succeeded",
         summary="Load the specified Lua script into the script cache.")  # fmt: skip
def load(session: Session, request: Request) -> Reply:
    return bytes(session.server.scripts.load(request[2], stays=True).name)


@command("script|exists", "sha1+", "noscript",
         since="2.6.0", group="scripting",
         complexity="O(N) with N being the number of scripts to check (so checking a single script is an O(1) operation).",
         tips="request_policy:all_shards response_policy:agg_logical_and",
         summary="Check existence of scripts in the script cache.")  # fmt: skip
def exists(session: Session, request: Request) -> Reply:
    return [int(sha.lower() in session.server.scripts.by_sha) for sha in request[2:]]


@command("script|flush", "async<ASYNC|SYNC>?@6.2.0", "noscript",
         since="2.6.0", group="scripting", complexity="O(N) with N being the number of scripts in cache",
         tips="request_policy:all_nodes response_policy:all_succeeded",
         summary="Remove all the scripts from the script cache.")  # fmt: skip
def flush(session: Session, request: Request) -> Reply:
    if len(request) > 3 or (len(request) == 3 and request[2].upper() not in (b"ASYNC", b"SYNC")):
        raise CommandError("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
    session.server.scripts.flush()
    return OK


@command("script|kill", "", "noscript allow_busy",
         since="2.6.0", group="scripting", complexity="O(1)",
         tips="request_policy:all_shards response_policy:one_succeeded",
         summary="Kill the script currently in execution.")  # fmt: skip
def kill(session: Session, request: Request) -> Reply:
    session.server.scripts.kill("SCRIPT")
    return OK


@command("script|debug", "mode<YES|SYNC|NO>", "noscript",
         since="3.2.0", group="scripting", complexity="O(1)",
         summary="Set the debug mode for executed scripts.")  # fmt: skip
def debug(session: Session, request: Request) -> Reply:
    mode = request[2].upper()
    if mode == b"NO":
        return OK
    if mode not in (b"YES", b"SYNC"):
        raise CommandError("ERR Use SCRIPT DEBUG YES/SYNC/NO")
    raise CommandError(NO_DEBUGGER)


@command("script|help", "", "loading stale",
         since="5.0.0", group="scripting", complexity="O(1)",
         summary="Show helpful text about the different subcommands")  # fmt: skip
def help_(session: Session, request: Request) -> Reply:
    return help_lines("SCRIPT", """\
DEBUG (YES|SYNC|NO)
    Set the debug mode for subsequent scripts executed.
EXISTS <sha1> [<sha1> ...]
    Return information about the existence of the scripts in the script cache.
FLUSH [ASYNC|SYNC]
    Flush the Lua scripts cache. Very dangerous on replicas.
    When called without the optional mode argument, the behavior is determined by the
    lazyfree-lazy-user-flush configuration directive. Valid modes are:
    * ASYNC: Asynchronously flush the scripts cache.
    * SYNC: Synchronously flush the scripts cache.
KILL
    Kill the currently executing Lua script.
LOAD <script>
    Load a script into the scripts cache without executing it.""")  # fmt: skip
