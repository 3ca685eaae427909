"""The contracts of an engine that several nodes share: a SharedLog, a Vault of snapshots, and who is Present.

One node at a time writes, and nobody elects it: each append says behind which entry it has to stand, and the engine refuses it
if something else stands there. Whoever writes a new kind of engine needs this file alone.

- Calls block. A kind that has an event loop of its own runs that in a thread of its own.
- Two failures are different things everywhere. `Refused`: somebody else's entry stands there, so this node is fenced, and the
  same call is never made again. `Unknown`: a time-out, a broken connection, or any other exception behind which the call may
  have had its effect, or may still have it later. Who gets `Unknown` reads what stands there (`settling`), and never guesses.
  A kind never makes a call again by itself: a client library's own retries are switched off, since a conditional call that
  has landed looks like a rival's when it is made again. Any other MediumError: nothing was done, and nothing will be.
- What an engine acknowledges is as durable as its settings make it; `Engine.promises` says so in words for a person.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from typing import Final, NamedTuple, Protocol, runtime_checkable

from kvserver.errors import ManifestInvalid, MediumError
from kvserver.formats.manifest import BEGINNING, Manifest, Position, encode_manifest

# The length of the digest in a mark, in hex digits.
MARK_DIGEST_HEX: Final = 32
# What no manifest names for so long was left by a writer that was killed. A person who looks at a damaged snapshot, which is
# named no more, has this time to copy it.
ABANDONED_S: Final = 7 * 24 * 3600


class Mark(NamedTuple):
    """The chain through a log, which goes with each entry: whoever reads proves by it that nothing is missing or inserted.

    - `epoch` is that of the writer.
    - `number` counts the entries of the log from 1, whoever wrote them.
    - `digest` is `digest_of` the entry before this one, or "" for the first.
    """

    epoch: int
    number: int
    digest: str


def digest_of(mark: Mark, data: bytes) -> str:
    """What the entry behind this one has in its mark: MARK_DIGEST_HEX hex digits of BLAKE2b over the mark and the data."""
    hasher = hashlib.blake2b(b"%d %d %b\n" % (mark.epoch, mark.number, mark.digest.encode()), digest_size=MARK_DIGEST_HEX // 2)
    hasher.update(data)
    return hasher.hexdigest()


class Tip(NamedTuple):
    """The end of a log as somebody has seen it: the position, the number and the `digest_of` of the last entry."""

    position: Position = BEGINNING
    number: int = 0
    digest: str = ""

    def mark(self, epoch: int) -> Mark:
        """The mark of the entry behind this one."""
        return Mark(epoch, self.number + 1, self.digest)

    def behind(self, position: Position, mark: Mark, data: bytes) -> Tip:
        """The end behind an entry that was appended here."""
        return Tip(position, mark.number, digest_of(mark, data))


class Entry(NamedTuple):
    """An entry of a shared log, as it was appended, and where it stands."""

    position: Position
    mark: Mark
    data: bytes


class SharedLog(Protocol):
    """The entries of all writers, one behind the other. Several threads may be in its methods at once."""

    @property
    def max_append_bytes(self) -> int:
        """The longest data of an entry. The data is part of a stream of bytes: a longer piece is cut anywhere.

        It may change at any time, where an engine is started again with other settings.
        """

    @property
    def most_in_flight(self) -> int:
        """So many appends may be on their way at once, each behind the one before, which need not have returned.

        Where that is more than one, the position of an entry is known before: (mark.epoch, after.number + 1), or
        (mark.epoch, 0) for the first of an epoch.
        """

    def append(self, data: bytes, mark: Mark, after: Position) -> Position:
        """Append an entry right behind the one at `after`. When this returns its position, it is durable.

        The data may be empty. An entry whose mark has a greater epoch than `after` is a fence: no append of an earlier epoch
        succeeds at that place any more, or behind it; where several may be in flight, one that was on its way behind that
        place may be taken, but no reader ever sees it. There, nothing is sent behind a fence before the fence is acknowledged.
        An entry with the same mark and the same data that stands there may be taken for this one: so no other node, and no
        other life of this one, may ever make the same fence.
        Refused: something else stands there, or did before it was trimmed. Unknown: it may have landed, or land later.
        EntryTooLong: this is longer than `max_append_bytes`.
        MediumError: it has not and will not.
        """

    def read(self, after: Position, wait_s: float) -> list[Entry]:
        """The entries behind this position, in order, as many as fit into some MB; no entry if none comes within `wait_s`.

        What is returned is durable: an entry that a reader has seen never goes. Trimmed: what stood behind the position is
        not there any more. MediumError: they can't be read now.
        """

    def trim(self, upto: Position) -> None:
        """Remove the entries up to this one, which a snapshot in the vault's manifest has. Fences may stay. MediumError."""

    def close(self) -> None:
        """Let go. Calls that wait end soon with MediumError, or as if nothing had come. May be called again."""


@runtime_checkable
class PromptLog(SharedLog, Protocol):
    """A SharedLog whose appends need no thread that waits: an event loop may begin them."""

    def begin_append(self, data: bytes, mark: Mark, after: Position, done: Callable[[Position | MediumError], None]) -> None:
        """Begin an append, and return at once. `done` is called once, in any thread: with what `append` returns or raises."""


class ObjectWriter(Protocol):
    """The payload of one snapshot on its way to a vault, under a name that was never used before. Nobody sees a part of it."""

    @property
    def name(self) -> str:
        """The name of the object."""

    def write(self, data: bytes) -> None:
        """Add the next bytes. After a MediumError: `abort`."""

    def commit(self) -> None:
        """Make it whole and durable. After a MediumError, also Unknown: `abort`, and its name is never named anywhere."""

    def abort(self) -> None:
        """Give up, and give the space back as far as it can be. Behind a commit that has returned it does nothing.

        Never raises.
        """


class Vault(Protocol):
    """Snapshots, and the manifest that says which of them count. One thread at a time calls it, but for `read`."""

    def begin(self) -> ObjectWriter:
        """Start an object."""

    def manifest(self) -> tuple[Manifest | None, str]:
        """The manifest and its tag; None and "" if there is none. MediumError for one that can't be read, or is none."""

    def commit(self, manifest: Manifest, tag: str) -> str:
        """Replace the manifest with this tag ("": there is none) by another one. Return its tag. Refused; Unknown.

        MediumError, and all is as before: it could not be replaced, or this manifest could not be read again.
        """

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return `length` bytes of an object; fewer only at its end. MediumError if it is not there."""

    def remove(self, names: list[str]) -> None:
        """Remove objects, whether they are there or not. MediumError."""

    def close(self) -> None:
        """Let go. May be called again."""


@runtime_checkable
class SweptVault(Vault, Protocol):
    """A Vault that can tell how old its objects are."""

    def sweep(self, named: Collection[str]) -> None:
        """Remove the snapshots, and parts of them, that are not among these and have been there for ABANDONED_S. MediumError.

        For one who has just replaced the manifest by one with these names: whoever began an object before that is refused when
        it names it.
        """


def manifest_bytes(manifest: Manifest, nonce: str = "") -> bytes:
    """The bytes of a manifest that a vault is to have (`encode_manifest`). MediumError if nobody could read it again."""
    try:
        return encode_manifest(manifest, nonce)
    except ManifestInvalid as error:
        raise MediumError(f"the new manifest is not written, since nobody could read it: {error}") from error


class Node(NamedTuple):
    """What a node tells of itself.

    - `id` is a random name, anew at each start; `host` and `port` are where clients reach it.
    - `applied` is the number (Mark.number) of the last entry whose effect its readers see.
    - `beats` grows each time that it tells: whoever does not see it grow takes the node for dead.
    """

    id: str
    host: str
    port: int
    is_primary: bool
    applied: int
    beats: int


# The fields of a node that is told of in JSON.
_TYPES: Final = {"id": str, "host": str, "port": int, "is_primary": bool, "applied": int, "beats": int}


def decode_node(data: bytes) -> Node | None:
    """The node that this JSON object tells of, or None if it tells of none.

    Fields that are not known are ignored: nodes of a later version may tell more, and be there beside this one.
    """
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or any(type(told.get(name)) is not kind for name, kind in _TYPES.items()):
        return None
    return Node(**{name: told[name] for name in _TYPES})


class Presence(Protocol):
    """Who is there. It decides nothing: a node that is wrongly taken for dead loses nothing."""

    def tell(self, node: Node) -> None:
        """Tell of this node, in place of what it told before. MediumError if that fails."""

    def nodes(self) -> list[Node]:
        """All nodes that have told of themselves lately, but for those whose words can't be read. MediumError."""

    def leave(self, node_id: str) -> None:
        """Tell that this node is not there any more. MediumError."""

    def close(self) -> None:
        """Let go. May be called again."""


class Engine(NamedTuple):
    """An engine that was opened.

    - `url` names it without a password. `name` is that of the data in it, by which Sentinel's clients ask for it.
    - `lease_s` is how long a writer may be silent by default, in seconds.
    - `beat_s` is the time between two words of a node of itself.
    - `promises` are lines that say which failures an acknowledged write survives; `warnings` are those to be told loudly.
    """

    url: str
    name: str
    log: SharedLog
    vault: Vault
    presence: Presence
    lease_s: float
    beat_s: float = 0.5
    promises: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def close(self) -> None:
        """Let go of all three."""
        self.presence.close()
        self.vault.close()
        self.log.close()
