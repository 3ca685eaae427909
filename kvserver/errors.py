"""Every exception that kvserver raises on purpose, in one tree. This module imports nothing of the package.

Only the exceptions with which the scans of `formats` tell of an invalid frame or record are there.

Exception
└── KVServerError              the root
    ├── MediumError            a medium can't be opened, read or written (also an OSError)
    │   ├── MediumLocked       another process holds the medium
    │   ├── Refused            an engine refuses an append or a manifest, since somebody else's stands there
    │   ├── Unknown            nobody knows if a call of an engine has had its effect, or may still have it
    │   ├── EntryTooLong       an entry is longer than an engine takes now
    │   ├── Denied             an engine's user may not do what was asked
    │   ├── NotReady           an engine does not answer yet, or not for now
    │   ├── ChainBroken        the entries of a shared log do not follow each other, or hold what can't be run
    │   │   └── LogLost            a shared log ends before an entry that was acknowledged there
    │   ├── Trimmed            entries of a shared log are not there any more, since a snapshot has them
    │   └── MediumPoisoned     an earlier write or sync failed, so that nothing written to this file can be believed
    │       └── MediumDisplaced    the file is not the one at its path any more, or was changed by somebody else
    ├── StoreClosed            a library store that was closed is written to (also a ValueError)
    ├── WrongEventLoop         a store is used outside the event loop that it was opened in (also a RuntimeError)
    ├── StoreReplaced          the data of a store of aio is being replaced, or was amid an iteration (also a RuntimeError)
    ├── ValueTooLarge          a value takes more than all of a cache may (also a ValueError)
    ├── CacheFull              a cache has no room, and its policy lets no key go
    ├── CodecError             a codec fails at a value, or gives what is no bytes (also a ValueError)
    ├── StoreReadOnly          a library store that was opened read_only is written to
    ├── ManifestInvalid        a manifest of a vault is none, or contradicts itself (also a ValueError)
    ├── PayloadInvalid         the payload of a frame is not the JSON of a store (also a ValueError)
    ├── DumpInvalid            the payload of a RESTORE can't be loaded
    │   └── DumpEmpty              it is a collection without members
    ├── RDBInvalid             the bytes of an RDB file are none, or end too early (also a ValueError)
    ├── HistoryError           a moment of the past that is named wrongly, or that the history does not have
    │   └── NotRecorded            nothing was recorded at that moment
    ├── PatternInvalid         a text in a path is no regular expression, or one that is too large
    ├── JSONUnclear            only the whole of a JSON text can tell if it is to be refused
    ├── DenseNeeded            a HyperLogLog can't stay sparse
    ├── ConfigError            a wrong option, value or file of options
    │   └── ConfigSetError     the same by CONFIG SET, in Redis's words
    ├── RuleError              a rule of a user that means nothing, or a file of users with such rules
    ├── UsageError             words on the command line that mean nothing
    ├── StartError             the server can't start
    ├── NotRunning             the server that is asked for something does not run in this process
    ├── TLSError               no TLS context can be made of the options
    ├── ExtraMissing           a package that an extra brings is not installed
    ├── LinkLost               a link to a server that is followed can't be made, or is lost: another one may do better
    │   └── SourceUnusable     what such a server sends can't be followed, however often it is tried
    ├── ReplayError            a list of operations can't be read or run, or a server answers one of them by an error
    ├── TransferError          data can't be brought in or out: it can't be read, or not be put where it is to go
    │   ├── SourceInvalid          what is to be brought in is damaged, or of a form that is not known
    │   └── NeverFollows           a server that is to take over another one gets none of its data, and will not
    ├── ProtocolError          bytes on a connection that are no request: an error is sent, and the connection closed
    └── CommandError           a command that is answered by an error, while the connection goes on
        └── Refusal            a command that was not run at all
"""

from __future__ import annotations


class KVServerError(Exception):
    """The root of all exceptions of this package."""


class MediumError(KVServerError, OSError):
    """A medium can't be opened, read or written. `str()` is one line that names the file."""


class MediumLocked(MediumError):
    """Another process (or another object in this one) holds the medium."""


class Refused(MediumError):
    """An engine refuses an append or a manifest: somebody else's stands there. The same call is never made again."""


class Unknown(MediumError):
    """A call of an engine was cut off: it may have had its effect, or have it later. Reading tells."""


class EntryTooLong(MediumError):
    """An entry is longer than an engine takes, or takes by now: nothing was done. In parts it may be appended."""


class Denied(MediumError):
    """An engine does not let this user do that: nothing was done."""


class NotReady(MediumError):
    """An engine does not answer, or does not have all its nodes: that may pass."""


class ChainBroken(MediumError):
    """The entries of a shared log do not follow each other, or hold what can't be run. Nobody goes on behind that."""


class LogLost(ChainBroken):
    """A shared log ends before an entry that was acknowledged there: it was made anew, or has lost its end."""


class Trimmed(MediumError):
    """The entries of a shared log behind a position are not there any more: a snapshot in the vault has them."""


class MediumPoisoned(MediumError):
    """An earlier write or sync failed: nothing but a rewrite into a new file is believed after that."""


class MediumDisplaced(MediumPoisoned):
    """The file was moved, removed, replaced or changed by somebody else: what is written to it would not be found."""


class StoreClosed(KVServerError, ValueError):
    """A store of the library was closed: what is written to it now would not be kept."""


class WrongEventLoop(KVServerError, RuntimeError):
    """A store of `aio` is used by another event loop or another thread than that in which it was opened."""


class StoreReplaced(KVServerError, RuntimeError):
    """`restore` of a store of `aio` is under way, and the call can't wait for it; or it has begun amid an iteration."""


class ValueTooLarge(KVServerError, ValueError):
    """A value takes more than all of a cache may. `str()` names the key and both sizes; nothing has changed."""


class CacheFull(KVServerError):
    """A cache has no room for a value, and its policy lets no key go. `str()` names the key; it is as it was."""


class CodecError(KVServerError, ValueError):
    """A codec fails at a value, which stays as it was. `str()` names the key; `__cause__` is the codec's own exception."""


class StoreReadOnly(KVServerError):
    """A store of the library was opened read_only: only the server writes there."""


class ManifestInvalid(KVServerError, ValueError):
    """A manifest of a vault that is none, or contradicts itself. `str()` says what is wrong."""


class PayloadInvalid(KVServerError, ValueError):
    """The payload of a frame is not the JSON object of a store. `str()` says what is wrong."""


class DumpInvalid(KVServerError):
    """A DUMP payload that can't be loaded. `str()` is what Redis writes behind `-ERR `."""


class DumpEmpty(DumpInvalid):
    """A DUMP payload of a collection without members. Redis skips such a key of a file, and refuses to restore it."""


class RDBInvalid(KVServerError, ValueError):
    """Bytes that are no RDB file, or one that is cut, damaged or of a newer form. `str()` is one line, which says where."""


class HistoryError(KVServerError):
    """A moment of the past that is named wrongly, or that the history does not have. `str()` is one line that says why."""


class NotRecorded(HistoryError):
    """Nothing was recorded at a moment: no history is kept, or the journal has a gap there."""


class PatternInvalid(KVServerError):
    """A text in the path of a document is no regular expression, or one that is too large."""


class JSONUnclear(KVServerError):
    """Only the whole of a JSON text can tell if it is to be refused: a member of the same name may hide what is wrong."""


class DenseNeeded(KVServerError):
    """A register that the runs of a sparse HyperLogLog can't hold, or not in as many bytes as they may have."""


class ConfigError(KVServerError):
    """A wrong option, value or file of options. `str()` is one line that names it and the source that it came from."""


class ConfigSetError(ConfigError):
    """A refused CONFIG SET. `str()` is Redis's error line without the leading `-`, without CR or LF."""


class RuleError(KVServerError):
    """A rule of a user that is none, or users that can't be loaded. `str()` is what Redis writes of it."""


class UsageError(KVServerError):
    """Words on the command line that mean nothing. `str()` is one line that says what is wrong."""


class StartError(KVServerError):
    """The server can't start. `str()` is the one line for the user."""


class NotRunning(KVServerError):
    """The server does not run: it was not started, has ended, or runs in the process that this one was forked from."""


class TLSError(KVServerError):
    """No TLS context can be made of the options. `str()` is the one line for the user."""


class ExtraMissing(KVServerError):
    """A package that an extra brings is not installed. `str()` is the one line for the user, and tells how to install it."""


class LinkLost(KVServerError):
    """A link to a server that is followed can't be made, or is lost. `str()` is one line that says why."""


class SourceUnusable(LinkLost):
    """A server that is followed sends what can't be followed, so that nobody should try again. `str()` is one line."""


class ReplayError(KVServerError):
    """A list of operations can't be read or run, or a server answers one by an error. `str()` is the one line for the user."""


class TransferError(KVServerError):
    """Data can't be brought in or out. `str()` is the one line for the user."""


class SourceInvalid(TransferError):
    """What is to be brought in is damaged, or of a form that is not known. `str()` says what is wrong, and where."""


class NeverFollows(TransferError):
    """The data of the source has not come to the target of a take-over, and will not."""


class ProtocolError(KVServerError):
    """Bytes that are no request. `str()` is what Redis writes behind `-ERR Protocol error: `."""


class CommandError(KVServerError):
    """A command that fails. `str()` is the error line as Redis writes it, code word included, no `-`."""


class Refusal(CommandError):
    """A command that is not run: unknown, with a wrong number of words, or not allowed now. It doesn't count as a call."""
