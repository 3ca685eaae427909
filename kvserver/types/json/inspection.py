"""JSON.TYPE, JSON.RESP and JSON.DEBUG: what documents consist of."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final

from kvserver.data.steps import Steps
from kvserver.dispatch.command import command, container
from kvserver.errors import CommandError
from kvserver.formats.codec import JSON
from kvserver.resp.reply import Reply, Simple
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.json.ahead import reads_ahead
from kvserver.types.json.document import size_of
from kvserver.types.json.filters import NOTHING
from kvserver.types.json.places import NO_PATH, name_of, path_at, work_of
from kvserver.types.json.replies import each_reply, integer_reply, long_reply
from kvserver.types.json.storage import read
from kvserver.types.json.work import Work
from kvserver.types.json.writing import weight


@command("json.type", "key:key path?", "readonly", access="RO access", arity=-2,
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Get the types of the JSON values at a path")  # fmt: skip
@reads_ahead()
def json_type(session: Session, request: Request) -> Steps[Reply]:
    path, work = path_at(request, 2), work_of(session)
    document = yield from read(session, request[1])
    reply: Reply = None
    if document is not None and not path.is_legacy:
        values = yield from path.values(document.root, work)
        reply = yield from each_reply(session, values, lambda value: name_of(value).encode(), work)
    elif document is not None:
        value = yield from path.first(document.root, work)
        reply = None if value is NOTHING else name_of(value).encode()
    return [reply] if session.protocol == 3 else reply


_ARRAY, _OBJECT = Simple("["), Simple("{")
_BOOLEANS = {True: Simple("true"), False: Simple("false")}


def _as_reply(value: JSON) -> Reply:
    """A value as types of the protocol: a container is an array that begins with its bracket."""
    if type(value) is dict:
        # One call for each level, not two: documents may be deep.
        members: list[Reply] = [_OBJECT]
        for name, member in value.items():
            members += (name.encode(), _as_reply(member))
        return members
    if type(value) is list:
        return [_ARRAY, *map(_as_reply, value)]
    if type(value) is bool:
        return _BOOLEANS[value]
    if type(value) is int:
        return integer_reply(value)
    reply: Reply = value.encode() if type(value) is str else value
    return reply


# A value of a lower weight becomes a reply in one step.
_QUICK_WEIGHT: Final = 256


def _in_steps(value: JSON, work: Work) -> Steps[Reply]:
    """Return what `_as_reply` does."""
    whole: list[Reply] = []
    # The arrays that have begun, each with what is still to come into it.
    waiting: list[tuple[list[Reply], Iterator[JSON]]] = [(whole, iter((value,)))]
    while waiting:
        members, rest = waiting[-1]
        each = next(rest, _END)
        if each is _END:
            waiting.pop()
            continue
        found = weight(each, _QUICK_WEIGHT)
        if found < _QUICK_WEIGHT or not (type(each) is dict or type(each) is list):
            members.append(_as_reply(each))
        else:
            within: list[Reply] = [_OBJECT if type(each) is dict else _ARRAY]
            members.append(within)
            # A name is as a string.
            waiting.append((within, chain.from_iterable(each.items()) if type(each) is dict else iter(each)))
        work.spend(min(found, _QUICK_WEIGHT))
        if work.is_due():
            yield
    return whole[0]


_END: Final[JSON] = object()


@command("json.resp", "key:key path?", "readonly", access="RO access", arity=-2,
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Get the JSON values at a path as replies of the protocol")  # fmt: skip
@reads_ahead()
def json_resp(session: Session, request: Request) -> Steps[Reply]:
    path, work = path_at(request, 2), work_of(session)
    document = yield from read(session, request[1])
    if document is None:
        return None
    if path.is_legacy:
        value = yield from path.first(document.root, work)
        if value is NOTHING:
            raise CommandError(NO_PATH)
        reply = yield from _in_steps(value, work)
    else:
        replies: list[Reply] = []
        for value in (yield from path.values(document.root, work)):
            replies.append((yield from _in_steps(value, work)))
        reply = replies
    return (yield from long_reply(session, reply, work))


json_debug = container("json.debug", since="1.0.0", group="json", categories="json",
                       summary="A container for commands about the memory of JSON values")  # fmt: skip


@command("json.debug|memory", "key:key path?", "readonly", access="RO", arity=-3,
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Estimate the memory that the JSON values at a path take, in bytes")  # fmt: skip
@reads_ahead(lambda request: request[2:3])
def json_debug_memory(session: Session, request: Request) -> Steps[Reply]:
    path, work = path_at(request, 3), work_of(session)
    document = yield from read(session, request[2])
    if document is None:
        return 0 if path.is_legacy else []
    if not path.is_legacy:
        values = yield from path.values(document.root, work)
        return (yield from each_reply(session, values, size_of, work, cost=64))
    value = yield from path.first(document.root, work)
    if value is NOTHING:
        raise CommandError(NO_PATH)
    return size_of(value)


@command("json.debug|help", "", "readonly",
         since="1.0.0", group="json", complexity="O(1)",
         summary="Get help for the subcommands of JSON.DEBUG")  # fmt: skip
def json_debug_help(session: Session, request: Request) -> Reply:
    return [b"MEMORY <key> [path] - reports memory usage", b"HELP                - this message"]
