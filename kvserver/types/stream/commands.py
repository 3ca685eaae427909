"""XADD, XLEN, XDEL, XTRIM and XSETID: the entries of a stream."""

from __future__ import annotations

from itertools import takewhile
from typing import Final

from kvserver.dispatch.arguments import SYNTAX_ERROR, integer
from kvserver.dispatch.command import MANY_WORDS, Many, command, wrong_arity
from kvserver.errors import CommandError
from kvserver.resp.reply import OK, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.stream.group import COUNTS
from kvserver.types.stream.ids import FIRST, LAST, MOST, Id, following, parse
from kvserver.types.stream.lookup import is_unwatched
from kvserver.types.stream.stream import Stream
from kvserver.types.stream.trimming import Trim, read_addition, read_trim, record_of
from kvserver.types.stream.value import changeable, stream_of

_TOO_SMALL: Final = "The ID specified in XSETID is smaller than"
_TOO_LARGE: Final = "ERR Elements are too large to be stored"


def add_many(session: Session, requests: list[Request], output: list[bytes]) -> int:
    """Add entries that are given their ids, those of one stream behind each other at once. Return how many calls have run."""
    # What takes a time worth measuring is no part of a run.
    if len(requests[0]) >= MANY_WORDS:
        return 0
    done = 0
    while done < len(requests):
        added = _add_some(session, requests[done:], output)
        if not added:
            break
        done += added
    return done


def _add_some(session: Session, requests: list[Request], output: list[bytes]) -> int:
    """Run the first calls, as far as they say the same in front of the fields. Return how many have run."""
    keyspace, config, key = session.keyspace, session.server.config, requests[0][1]
    entry, form = keyspace.get(key), _form(session, requests[0])
    if type(entry) is not Stream or form is None:
        return 0
    start, trim = form
    words = requests[0][1:start]
    width = len(requests[0])
    if width == start or (width - start) % 2:
        return 0
    rows = [request[start:] for request in takewhile(lambda each: each[1:start] == words and len(each) == width, requests)]
    stream = keyspace.own_plain(key, entry)
    assert isinstance(stream, Stream)
    milliseconds, sequence = following(stream.last_id, keyspace.now_ms())
    if stream.last_id == LAST or sequence + len(rows) > MOST:
        return 0
    ids = [(milliseconds, number) for number in range(sequence, sequence + len(rows))]
    records: list[Request] = []
    added = 0
    while added < len(rows):
        most = len(rows) if trim is None else added + trim.slack(stream)
        limits = config.stream_node_max_entries, config.stream_node_max_bytes
        count = stream.entries.add_alike(ids[added:most], rows[added:most], *limits)
        if not count:
            try:
                stream.entries.add(ids[added], rows[added], *limits)
            except OverflowError:
                break
            count = 1
        texts = [b"%d-%d" % identity for identity in ids[added : added + count]]
        output += [b"$%d\r\n%b\r\n" % (len(text), text) for text in texts]
        records += [[b"XADD", key, text, *row] for text, row in zip(texts, rows[added : added + count], strict=True)]
        added += count
        stream.last_id = ids[added - 1]
        stream.added = (stream.added + count) % COUNTS
        if trim is not None and trim.apply(stream):
            records.append(record_of(key, stream))
    if records:
        keyspace.put_many([(key, stream)], records)
    return added


def _form(session: Session, request: Request) -> tuple[int, Trim | None] | None:
    """Where the fields of a call begin, and how it trims, if it adds an entry that is given its id; else None."""
    if request[2] == b"*":
        return 3, None
    try:
        start, is_made, trim, wanted, is_open = read_addition(session, request)
    except CommandError:
        return None
    return (start, trim) if is_made and wanted is None and not is_open else None


@command("xadd",
         "key:key NOMKSTREAM?@6.2.0 trim{strategy<MAXLEN|MINID@6.2.0> "
         "operator<==equal:pure-token|~=approximately:pure-token>? threshold LIMIT=count:integer?@6.2.0}? "
         "id_or_auto<*=auto_id:pure-token|id> field_value{field value}+",
         "write denyoom fast", access="RW update",
         key_notes=("UPDATE instead of INSERT because of the optional trimming feature",),
         events={"XADD": "xadd", "XTRIM": "xtrim"}, since="5.0.0", group="stream",
         complexity="O(1) when adding a new entry, O(N) when trimming where N being the number of entries evicted.",
         tips="nondeterministic_output",
         summary="Appends a new entry to a stream",
         many=Many(0, add_many))  # fmt: skip
def xadd(session: Session, request: Request) -> Reply:
    if request[2] == b"*":
        start, is_made, trim, wanted, is_open = 3, True, None, None, False
    else:
        start, is_made, trim, wanted, is_open = read_addition(session, request)
    strings = request[start:]
    if not strings or len(strings) % 2:
        raise wrong_arity("xadd")
    if wanted == FIRST and not is_open:
        raise CommandError("ERR The ID specified in XADD must be greater than 0-0")
    keyspace, key = session.keyspace, request[1]
    entry = keyspace.get(key)
    is_plain = type(entry) is Stream
    stream = keyspace.own_plain(key, entry) if is_plain else changeable(session, key)
    if stream is None:
        if not is_made:
            return None
        stream = Stream()
    assert isinstance(stream, Stream)
    now_ms = keyspace.now_ms()
    identity = (now_ms, 0) if wanted is None and now_ms > stream.last_id[0] else _next(stream, wanted, is_open, now_ms)
    config = session.server.config
    try:
        stream.entries.add(identity, strings, config.stream_node_max_entries, config.stream_node_max_bytes)
    except OverflowError:
        raise CommandError(_TOO_LARGE) from None
    stream.last_id = identity
    stream.added = (stream.added + 1) % COUNTS
    text = b"%d-%d" % identity
    record = [b"XADD", key, text, *strings]
    if is_plain:
        keyspace.put_as(key, stream, record)
    else:
        keyspace.change(key, stream, record)
    if trim is not None:
        _trim(session, key, stream, trim)
    return text


def _next(stream: Stream, wanted: Id | None, is_open: bool, now_ms: int) -> Id:
    """The id of an entry that is added to a stream. CommandError if it is not greater than the last one."""
    last = stream.last_id
    if last == LAST:
        raise CommandError("ERR The stream has exhausted the last possible ID, unable to add more items")
    if wanted is None:
        return following(last, now_ms)
    if is_open and wanted[0] == last[0]:
        if last[1] == MOST:
            # What Redis says here, too.
            raise CommandError(_TOO_LARGE)
        wanted = (wanted[0], last[1] + 1)
    if wanted <= last:
        raise CommandError("ERR The ID specified in XADD is equal or smaller than the target stream top item")
    return wanted


def _trim(session: Session, key: bytes, stream: Stream, trim: Trim) -> int:
    """Trim a stream that may be changed, record that, and return the number of entries that went."""
    removed = trim.apply(stream)
    if removed:
        session.keyspace.change(key, stream, record_of(key, stream))
    return removed


@command("xlen", "key:key", "readonly fast", access="RO",
         since="5.0.0", group="stream", complexity="O(1)",
         summary="Return the number of entries in a stream")  # fmt: skip
def xlen(session: Session, request: Request) -> Reply:
    stream = stream_of(session.keyspace.read(request[1]))
    return 0 if stream is None else stream.length


@command("xdel", "key:key id+", "write fast", access="RW delete",
         since="5.0.0", group="stream",
         complexity="O(1) for each single item to delete in the stream, regardless of the stream size.",
         summary="Removes the specified entries from the stream. Returns the number of items actually deleted, that may be "
         "different from the number of IDs passed in case certain IDs do not exist.")  # fmt: skip
def xdel(session: Session, request: Request) -> Reply:
    keyspace, key = session.keyspace, request[1]
    if stream_of(keyspace.live(key)) is None:
        return 0
    identities = list(map(parse, request[2:]))
    stream = changeable(session, key)
    assert stream is not None
    removed = sum(map(stream.delete, identities))
    if removed:
        keyspace.change(key, stream, request)
    return removed


@command("xtrim",
         "key:key trim{strategy<MAXLEN|MINID@6.2.0> operator<==equal:pure-token|~=approximately:pure-token>? threshold "
         "LIMIT=count:integer?@6.2.0}",
         "write", access="RW delete",
         since="5.0.0", group="stream",
         complexity="O(N), with N being the number of evicted entries. Constant times are very small however, since "
         "entries are organized in macro nodes containing multiple entries that can be released with a single "
         "deallocation.",
         tips="nondeterministic_output",
         summary="Trims the stream to (approximately if '~' is passed) a certain size")  # fmt: skip
def xtrim(session: Session, request: Request) -> Reply:
    trim = read_trim(session, request)
    key = request[1]
    stream = changeable(session, key)
    return 0 if stream is None else _trim(session, key, stream, trim)


@command("xsetid",
         "key:key last-id ENTRIESADDED=entries_added:integer?@7.0.0 MAXDELETEDID=max_deleted_entry_id?@7.0.0",
         "write denyoom fast", access="RW update",
         is_watched=is_unwatched, since="5.0.0", group="stream", complexity="O(1)",
         summary="An internal command for replicating stream values")  # fmt: skip
def xsetid(session: Session, request: Request) -> Reply:
    last = parse(request[2])
    added: int | None = None
    deleted = FIRST
    index = 3
    while index < len(request):
        option = request[index].lower()
        if index + 1 == len(request) or option not in (b"entriesadded", b"maxdeletedid"):
            raise CommandError(SYNTAX_ERROR)
        if option == b"entriesadded":
            added = integer(request[index + 1])
            if added < 0:
                raise CommandError("ERR entries_added must be positive")
        else:
            deleted = parse(request[index + 1])
            if last < deleted:
                raise CommandError(f"ERR {_TOO_SMALL} the provided max_deleted_entry_id")
        index += 2
    key = request[1]
    stream = changeable(session, key)
    if stream is None:
        raise CommandError("ERR no such key")
    if stream.length:
        if last < (stream.entries.last() or FIRST):
            raise CommandError(f"ERR {_TOO_SMALL} the target stream top item")
        if added is not None and stream.length > added:
            raise CommandError("ERR The entries_added specified in XSETID is smaller than the target stream length")
    if last < stream.last_id:
        stream.entries.forget_behind(last)
    stream.last_id = last
    if added is not None:
        stream.added = added
    if deleted != FIRST:
        stream.max_deleted_id = deleted
    session.keyspace.change(key, stream, request)
    return OK
