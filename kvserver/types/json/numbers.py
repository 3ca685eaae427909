"""JSON.NUMINCRBY and JSON.NUMMULTBY: numbers in documents.

Integers stay integers, of any length; where either number has a fraction or an exponent, the result is a float of 64 bits.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable

from kvserver.data.steps import Steps
from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.json.ahead import writes_ahead
from kvserver.types.json.document import Document, Location
from kvserver.types.json.path import parse_path
from kvserver.types.json.places import change_each, is_number
from kvserver.types.json.replies import each_reply, integer_reply
from kvserver.types.json.storage import Finish, sent
from kvserver.types.json.work import Work
from kvserver.types.json.writing import text_steps

Number = int | float


def _calculate(calculate: Callable[[Number, Number], Number], left: Number, right: Number) -> Number:
    """The result. CommandError if it is no number that JSON can express, or that Python prints."""
    try:
        result = calculate(left, right)
    except OverflowError:
        # A long integer is no float.
        result = math.inf
    if type(result) is float and not math.isfinite(result):
        raise CommandError("ERR result is not a number")
    if type(result) is int and result.bit_length() > _MOST_BITS:
        raise CommandError("ERR numeric overflow")
    return result


# So many bits are printed in the digits that Python prints at most, whatever they are.
_MOST_BITS = int(sys.get_int_max_str_digits() * math.log2(10)) - 1


def _change(session: Session, request: Request, calculate: Callable[[Number, Number], Number]) -> Steps[Finish]:
    path = parse_path(request[2])
    operand = yield from sent(request[3])
    if not is_number(operand):
        raise CommandError("ERR bad input number")

    def plan(document: Document, location: Location, work: Work) -> Steps[Number]:
        yield from ()
        return _calculate(calculate, document.at(location), operand)

    def change(document: Document, location: Location, result: Number) -> Reply:
        document.put(location, result)
        return result

    # In RESP3 it is always a list, as in RedisJSON.
    is_resp3 = session.protocol == 3
    wrong = "does not contains a number"
    return (
        yield from change_each(
            session, request, is_number, plan, change, wrong, path=path, has_all=is_resp3, shape=_list if is_resp3 else _text
        )
    )


def _text(session: Session, replies: Reply, work: Work) -> Steps[Reply]:
    return (yield from text_steps(replies))


def _list(session: Session, replies: Reply, work: Work) -> Steps[Reply]:
    assert isinstance(replies, list)
    return (yield from each_reply(session, replies, lambda each: integer_reply(each) if type(each) is int else each, work))


@command("json.numincrby", "key:key path number:double", "write", access="RW access update",
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Add a number to the numbers at a path")  # fmt: skip
@writes_ahead()
def json_numincrby(session: Session, request: Request) -> Steps[Finish]:
    return _change(session, request, operator.add)


@command("json.nummultby", "key:key path number:double", "write", access="RW access update",
         since="1.0.0", group="json", complexity="O(N) where N is the size of the document",
         summary="Multiply the numbers at a path by a number")  # fmt: skip
@writes_ahead()
def json_nummultby(session: Session, request: Request) -> Steps[Finish]:
    return _change(session, request, operator.mul)
