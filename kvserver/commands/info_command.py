"""INFO: which sections are asked for, and how they are written."""

from __future__ import annotations

from kvserver.commands.info import DEFAULT, SECTIONS
from kvserver.dispatch.row import NO_KEYS, Command
from kvserver.resp.reply import Reply, Verbatim
from kvserver.state.session import Session

_GROUPS = {"default": DEFAULT, "all": list(SECTIONS), "everything": list(SECTIONS)}


def _wanted(words: list[bytes]) -> set[str]:
    """The titles, in lower case."""
    names = [word.decode("utf-8", "replace").lower() for word in words] or ["default"]
    return {title.lower() for name in names for title in _GROUPS.get(name, [name])}


def info(session: Session, args: list[bytes]) -> Reply:
    state = session.server
    state.usages.fold_all(args)
    wanted = _wanted(args[1:])
    texts = []
    for title, section in SECTIONS.items():
        if title.lower() in wanted:
            lines = [f"{name}:{value}" for name, value in section(state).items()]
            texts.append("\r\n".join([f"# {title}", *lines]) + "\r\n")
    return Verbatim("\r\n".join(texts).encode("utf-8", "surrogateescape"))


COMMANDS = (
    Command("info", -1, ("loading", "stale"), NO_KEYS, info, "Get information and statistics about the server", "1.0.0",
            "server", "O(1)"),
)  # fmt: skip
