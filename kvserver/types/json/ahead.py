"""The work on long texts that is done before a command runs, or replies, in steps between the commands of others. Pure.

A command that is given a long JSON text, that looks into one that is stored, or that replies with one, asks for an `Ahead`
first, and finds what that has worked out when it runs again. In a transaction or a script, where nothing can wait, it is done
at once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from functools import wraps
from io import BytesIO
from typing import Final, NamedTuple

from kvserver.data.keyspace import Keyspace
from kvserver.dispatch.effect import Ahead, Effect
from kvserver.errors import CommandError
from kvserver.formats.codec import JSON, JSONText
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.json.document import Document
from kvserver.types.json.parsing import LONG_BYTES, parse_steps
from kvserver.types.json.path import Path, parse_path
from kvserver.types.json.places import value_from
from kvserver.types.json.segments import Chunk, Chunks
from kvserver.types.json.writing import weight, write, write_steps

Handler = Callable[[Session, Request], Reply | Effect]

# A value of a greater weight is written ahead.
_LONG_WEIGHT: Final = 4096
_NOTHING: Final = slice(0)
# So many chunks of a search are made at once, which is a short time.
_CHUNKS_AT_ONCE: Final = 4


class _Searched(NamedTuple):
    """What a path finds in the document under a key, whose root this is, or the error of the search."""

    key: bytes
    path: Path
    root: JSON
    found: Chunk | CommandError


class _Values:
    """The values of texts that were parsed ahead, or the errors, by the identities of the texts; then what was searched."""

    def __init__(self) -> None:
        self.found: dict[int, JSON | CommandError] = {}
        self.searches: list[_Searched] | None = None


class _Written(NamedTuple):
    """The JSON of values that was written ahead, and what makes the reply of it."""

    texts: list[bytes]
    finish: Callable[[list[bytes]], Reply]


def key(request: Request) -> list[bytes]:
    """Return the key of most commands, which look into its document."""
    return request[1:2]


def search(request: Request) -> list[tuple[bytes, bytes]]:
    """Return the key and the path of most commands; nothing, if the path is missing, which is the root then."""
    return [(request[1], request[2])] if len(request) > 2 else []


def works_ahead(
    keys: Callable[[Request], list[bytes]] = key,
    *,
    values: slice = _NOTHING,
    searches: Callable[[Request], list[tuple[bytes, bytes]]] = search,
) -> Callable[[Handler], Handler]:
    """Return a decorator for handlers of commands: what takes long is done in steps before the command runs.

    Long texts among the `values` of a call, and those under its `keys`, are parsed. Then the `searches`, of a key and a path
    each, are made in the large documents. If another command changes a document meanwhile, the command searches it by itself.
    """

    def decorate(handler: Handler) -> Handler:
        @wraps(handler)
        def run(session: Session, request: Request) -> Reply | Effect:
            if not session.may_wait:
                return handler(session, request)
            ready = session.ready[1] if session.ready is not None and session.ready[0] is request else None
            if isinstance(ready, _Written):
                session.ready = None
                return ready.finish(ready.texts)
            if ready is None:
                texts = [text for text in request[values] if len(text) > LONG_BYTES]
                stored = [each for each in keys(request) if is_long_text(session.keyspace, each)]
                if texts or stored:
                    return Ahead(_parse(session.keyspace, texts, stored))
            searched = ready.searches if isinstance(ready, _Values) else None
            if searched is None:
                open_searches = _begin(session.keyspace, searches(request))
                if any(each.rest is not None for each in open_searches):
                    session.ready = None
                    # Now, since the steps begin behind other commands of this tick; and those that have ended, too, whose
                    # locations are used when all have.
                    for begun in open_searches:
                        begun.hold()
                    return Ahead(_search(open_searches, ready if isinstance(ready, _Values) else _Values()))
                searched = [each.searched() for each in open_searches]
            try:
                for each in searched:
                    if isinstance(each.found, CommandError):
                        raise each.found
                    each.path.known = each.root, each.found
                return handler(session, request)
            finally:
                session.ready = None
                for each in searched:
                    each.path.known = None

        return run

    return decorate


class _Search:
    """A search in a large document that has begun. `rest` are the chunks that are to come, or None if it has ended."""

    def __init__(self, key: bytes, path: Path, document: Document) -> None:
        self._key = key
        self._path = path
        self._document = document
        self._found: Chunk = []
        self._error: CommandError | None = None
        self.rest: Chunks | None = path.chunks(document.root)
        self.root = document.root
        for _ in range(_CHUNKS_AT_ONCE):
            self.step()

    def step(self) -> None:
        """Look at some more."""
        if self.rest is None:
            return
        try:
            chunk = next(self.rest, None)
        except CommandError as error:
            self._error, chunk = error, None
        if chunk is None:
            self.rest = None
        else:
            self._found += chunk

    def hold(self) -> None:
        """Have the document copy from now on what is changed in it."""
        self._document.fork()

    def searched(self) -> _Searched:
        return _Searched(self._key, self._path, self.root, self._error or self._found)


def _begin(keyspace: Keyspace, wanted: list[tuple[bytes, bytes]]) -> list[_Search]:
    """Begin the searches in large documents. Paths to one value, and what is no path, are left to the command."""
    begun: dict[tuple[bytes, bytes], _Search] = {}
    for each, text in wanted:
        document = keyspace.peek_live(each)
        if type(document) is not Document or (each, text) in begun:
            continue
        with suppress(CommandError):
            path = parse_path(text)
            if not path.is_definite:
                begun[each, text] = _Search(each, path, document)
    return list(begun.values())


def _search(searches: list[_Search], values: _Values) -> Generator[None, None, _Values]:
    for each in searches:
        while each.rest is not None:
            each.step()
            yield
    values.searches = [each.searched() for each in searches]
    return values


def is_long_text(keyspace: Keyspace, key: bytes) -> bool:
    """Return True if a document that is held as a long text is under a key."""
    value = keyspace.peek_live(key)
    return type(value) is JSONText and len(value) > LONG_BYTES


def sent_value(session: Session, request: Request, text: bytes) -> JSON:
    """Return the value of JSON that a client has sent in this request. CommandError if it is none, or can't be kept."""
    ready = session.ready
    if ready is None or ready[0] is not request or type(ready[1]) is not _Values or id(text) not in ready[1].found:
        return value_from(text)
    value = ready[1].found[id(text)]
    if isinstance(value, CommandError):
        raise value
    return value


def written(session: Session, found: list[tuple[Document, JSON]], finish: Callable[[list[bytes]], Reply]) -> Reply | Ahead:
    """Return the reply that is made of the JSON of values, each with the document that it is in.

    If that takes long, it is the effect by which the JSON is written ahead; then the command does not run again, since what is
    under its keys may be something else. `finish` makes the reply of the texts, and may raise CommandError.
    """
    if not session.may_wait or weight([value for _, value in found], _LONG_WEIGHT) < _LONG_WEIGHT:
        return finish([write(value, has_constants=document.has_constants) for document, value in found])
    for document, _ in found:
        # From now on it copies what it changes.
        document.fork()
    return Ahead(_write(found, finish))


def _parse(keyspace: Keyspace, texts: list[bytes], keys: list[bytes]) -> Generator[None, None, _Values]:
    values = _Values()
    for text in texts:
        try:
            value, _ = yield from parse_steps(text, is_canonical=False)
        except ValueError as error:
            value = CommandError(f"ERR {error}")
        values.found[id(text)] = value
    for each in keys:
        stored = keyspace.peek_live(each)
        if type(stored) is not JSONText:
            continue
        root, has_constants = yield from parse_steps(stored, is_canonical=True)
        # Meanwhile another one may have come under the key.
        if keyspace.peek_live(each) is stored:
            document = Document(root, has_constants=has_constants)
            document.is_kept = True
            keyspace.put_equal(each, document)
    return values


def _write(found: list[tuple[Document, JSON]], finish: Callable[[list[bytes]], Reply]) -> Generator[None, None, _Written]:
    texts = []
    for document, value in found:
        # Its buffer becomes the text, so that nothing is copied twice.
        gathered = BytesIO()
        for piece in write_steps(value, has_constants=document.has_constants):
            gathered.write(piece)
            yield
        texts.append(gathered.getvalue())
    return _Written(texts, finish)
