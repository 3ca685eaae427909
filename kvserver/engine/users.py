"""The users, loaded at the start, and loaded again and saved while the server runs. What a file has is for `acl` to know."""

from __future__ import annotations

import logging
from functools import partial

from kvserver.dispatch.effect import ChangeRights
from kvserver.errors import CommandError, RuleError, StartError
from kvserver.media.filesystem import FileSystem, sync_names
from kvserver.options.file import read_bytes, replace_text
from kvserver.options.kinds import decode
from kvserver.persistence.disk import Disk
from kvserver.resp.reply import OK, Reply
from kvserver.state.session import ServerState

NOT_READ = "Error loading ACLs, opening file '{}': {}"
NOT_SAVED = "ERR There was an error trying to save the ACLs. Please check the server logs for more information"
IN_TWO_PLACES = "there are users in the options, and an aclfile besides: all of them have to stand in one place"

_log = logging.getLogger("kvserver")


def load_at_start(state: ServerState) -> None:
    """Have the users that the options name, or those of the file, and no others. StartError, in one line, if they are wrong.

    Nobody has logged in yet, or those who have are closed by the caller.
    """
    config, users = state.config, state.users
    if config.aclfile and config.user:
        raise StartError(IN_TWO_PLACES)
    try:
        users.replace({})
        users.default.set_password(config.requirepass)
        for name in users.configure(config.user):
            _log.info("the user %s is off: nobody can log in by this name", name.decode("utf-8", "backslashreplace"))
        if config.aclfile:
            users.replace(users.read(read_bytes(config.aclfile), config.aclfile))
    except OSError as error:
        raise StartError(NOT_READ.format(config.aclfile, error.strerror or error)) from None
    except RuleError as error:
        raise StartError(f"the users can't be loaded: {error}") from None


async def load(state: ServerState, disk: Disk) -> ChangeRights:
    """Replace the users by those of the file; who is logged in as another one than the default user is killed, as by Redis.

    CommandError if the file can't be read, or has an error: then nothing has changed.
    """
    users, path = state.users, state.config.aclfile
    try:
        loaded = await disk.run(lambda: users.read(read_bytes(path), path))
    except RuleError as error:
        raise CommandError(f"ERR {error}") from None
    except OSError as error:
        raise CommandError(f"ERR {NOT_READ.format(path, error.strerror or error)}") from None
    was_open = users.default.is_open
    killed = state.log_out(users.replace(loaded))
    state.note_rights(users.default)
    return ChangeRights(killed, OK, concerns_all=users.default.is_open != was_open)


async def save(state: ServerState, disk: Disk) -> Reply:
    """Write all users to the file, as a whole. CommandError, whose reason is in the log, if that fails."""
    path = state.config.aclfile
    lines = state.users.lines()
    text = "".join(f"{decode(line)}\n" for line in lines)
    try:
        state.users.check_lines(lines)
        await disk.run(lambda: replace_text(path, text, partial(sync_names, FileSystem()), may_be_new=True))
    except (OSError, RuleError) as error:
        _log.warning("ACL SAVE failed: %s", error)
        raise CommandError(NOT_SAVED) from None
    return OK
