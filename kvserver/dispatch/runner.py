"""`Runner`, what the hot path needs of a command, and handlers that refuse some commands before they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kvserver.dispatch.command import Command, Handler
from kvserver.dispatch.effect import Effect
from kvserver.errors import Refusal
from kvserver.resp.reply import Reply
from kvserver.state.description import ANY_NUMBER, Description
from kvserver.state.session import Session

UNKNOWN: Final = b""  # the key in `Runners` of what runs where no command has the name
OOM: Final = "OOM command not allowed when used memory > 'maxmemory'."
EXEC_REFUSED: Final = "EXECABORT Transaction discarded because of: "
ANY_ARITY: Final = range(1, ANY_NUMBER)

# Handler, how many words there may be with the name, name. No NamedTuple: unpacking one takes 50 ns longer.
Runner = tuple[Handler, range, str]
Runners = dict[bytes, Runner]  # by name, in lower and in upper case


class Refusing:
    """A handler that refuses a command, or some parts of one; `texts` are the errors by the command."""

    __slots__ = ("handler", "row", "texts")

    def __init__(self, handler: Handler, row: Command, texts: dict[Description, str]) -> None:
        self.handler = handler
        self.row = row
        self.texts = texts

    def __call__(self, session: Session, args: list[bytes]) -> Reply | Effect:
        text = self.texts.get(self.row.resolve(args))
        if text is not None:
            raise Refusal(text)
        return self.handler(session, args)


def refuse(handler: Handler, row: Command, refusal: Callable[[Command], str | None]) -> Handler:
    """The handler, or one that refuses those of the row and its parts for which there is an error."""
    parts = [row, *row.subcommands.values(), *([row.alone] if row.alone else [])]
    texts: dict[Description, str] = {each: text for each in parts if (text := refusal(each)) is not None}
    if row.name == "exec" and texts:
        texts = {row: EXEC_REFUSED + texts[row].removeprefix("ERR ")}
    return Refusing(handler, row, texts) if texts else handler


class Limited:
    """The handler of a command that may need more memory, where that has a limit. RESTORE alone, which loads, may run."""

    __slots__ = ("handler",)

    def __init__(self, handler: Handler) -> None:
        self.handler = handler

    def __call__(self, session: Session, args: list[bytes]) -> Reply | Effect:
        if len(args) > 1 and is_out_of_memory(session):
            raise Refusal(OOM)
        return self.handler(session, args)


def is_out_of_memory(session: Session) -> bool:
    """Whether too much is used, and evicting some keys does not help."""
    memory = session.server.memory
    return memory.is_over and not memory.make_room()


def refusal_of(handler: Handler, row: Description) -> str | None:
    """By which error the handler of a command refuses this row, which is the command's or a subcommand's."""
    while isinstance(handler, Refusing):
        if row in handler.texts:
            return handler.texts[row]
        handler = handler.handler
    return None


def present_refusal(handler: Handler, row: Description, session: Session) -> str | None:
    """The same, or what there is to say now about memory."""
    text = refusal_of(handler, row)
    return OOM if text is None and "denyoom" in row.flags and is_out_of_memory(session) else text
