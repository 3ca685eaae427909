"""PFADD, PFCOUNT, PFMERGE, PFDEBUG, PFSELFTEST: strings as HyperLogLogs, which estimate how many elements were added to them.

The algorithm is that of `hyperloglog`. What is recorded gives the same bytes again, whatever hll-sparse-max-bytes is by then:
a change that has made a value dense is recorded as the value itself, and a replay lets sparse ones grow as long as they did.
"""

from __future__ import annotations

from sys import maxsize

from kvserver.data.kinds import kind_of
from kvserver.dispatch.arguments import WRONG_TYPE
from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.resp.reply import OK, Reply, Simple
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.string.hyperloglog import (
    EMPTY,
    HyperLogLog,
    cardinality,
    check,
    dense,
    differing,
    estimate,
    highest,
    is_dense,
    packed,
    register_of,
    registers_of,
    unpacked,
    with_cardinality,
    with_registers,
)
from kvserver.types.string.hyperloglog_sparse import REGISTERS, told
from kvserver.types.string.value import EMBEDDED_BYTES, STRING, Raw, raw


def _checked(value: object) -> bytes | None:
    """A value as a HyperLogLog, or None where it is missing. CommandError for any other value."""
    if value is None:
        return None
    if not isinstance(value, bytes) or kind_of(value) is not STRING:
        raise CommandError(WRONG_TYPE)
    check(value)
    return value


def _unshare(session: Session, key: bytes, value: bytes) -> None:
    """Make a value raw, as Redis does before it looks into one that it may change."""
    if len(value) <= EMBEDDED_BYTES and type(value) is not Raw:
        session.keyspace.put_equal(key, raw(value))


def _sparse_max_bytes(session: Session) -> int:
    return maxsize if session.is_journal else session.server.config.hll_sparse_max_bytes


def _signed(number: int) -> int:
    """The 64 bits of an estimate, as the reply has them."""
    return number - 2**64 if number >= 2**63 else number


@command("pfadd", "key:key element?+", "write denyoom fast", access="RW insert",
         since="2.8.9", group="hyperloglog", complexity="O(1) to add every element.",
         summary="Adds the specified elements to the specified HyperLogLog.", bounded_below=0)  # fmt: skip
def pfadd(session: Session, request: Request) -> Reply:
    key, elements = request[1], request[2:]
    value = _checked(session.keyspace.live(key))
    if value is not None:
        _unshare(session, key, value)
    changing = HyperLogLog(EMPTY if value is None else value, _sparse_max_bytes(session))
    is_changed = value is None
    try:
        for element in elements:
            is_changed |= changing.add(element)
    except CommandError:
        # What was added before the run that can't be stays, as in Redis. A replay may not fail.
        if is_changed:
            stored = raw(changing.changed())
            session.keyspace.change(key, stored, [b"SET", key, stored])
        raise
    if is_changed:
        stored = raw(changing.changed())
        recorded = [b"SET", key, stored] if changing.is_promoted else [b"PFADD", *request[1:]]
        session.keyspace.change(key, stored, recorded)
    return int(is_changed)


@command("pfcount", "key:key+", "readonly", access="RW access",
         events="", since="2.8.9", group="hyperloglog",
         complexity="O(1) with a very small average constant time when called with a single key. O(N) with N being the number "
         "of keys, and much bigger constant times, when called with multiple keys.",
         summary="Return the approximated cardinality of the set(s) observed by the HyperLogLog at key(s).",
         key_notes=("RW because it may change the internal representation of the key, and propagate to replicas",),
         may_replicate=True)  # fmt: skip
def pfcount(session: Session, request: Request) -> Reply:
    keyspace = session.keyspace
    if len(request) > 2:
        return _signed(estimate(_union(session, request[1:])[0]))
    key = request[1]
    value = _checked(keyspace.read(key))
    if value is None:
        return 0
    _unshare(session, key, value)
    number = cardinality(value)
    if number is None:
        number = estimate(registers_of(value))
        # A standby has what the log says, and adds nothing to it.
        if session.server.replication.is_primary or session.is_replay:
            keyspace.change(key, raw(with_cardinality(value, number)), [b"PFCOUNT", key])
    return _signed(number)


def _union(session: Session, keys: list[bytes]) -> tuple[bytes, bool]:
    """The registers of all that was added to any of these, and True if one of them is dense. Missing keys have nothing."""
    registers, has_dense = bytes(REGISTERS), False
    for key in keys:
        value = _checked(session.keyspace.read(key))
        if value is not None:
            registers = highest(registers, registers_of(value))
            has_dense |= is_dense(value)
    return registers, has_dense


@command("pfmerge", "destkey:key sourcekey:key#1+", "write denyoom", access="RW access insert; RO access", arity=-2,
         events="pfadd",
         since="2.8.9", group="hyperloglog", complexity="O(N) to merge N HyperLogLogs, but with high constant times.",
         summary="Merge N different HyperLogLogs into a single one.")  # fmt: skip
def pfmerge(session: Session, request: Request) -> Reply:
    keyspace, target = session.keyspace, request[1]
    registers, is_dense_now = _union(session, request[1:])
    value = _checked(keyspace.live(target)) or EMPTY
    changing = HyperLogLog(with_registers(value, registers) if is_dense_now else value, _sparse_max_bytes(session))
    if not is_dense_now:
        for index in differing(registers, registers_of(value)):
            changing.lift(index, registers[index])
    stored = raw(changing.changed())
    keyspace.change(target, stored, [b"SET", target, stored] if changing.is_promoted else [b"PFMERGE", *request[1:]])
    return OK


@command("pfdebug", "subcommand key:key", "write denyoom admin", access="RW access",
         events="", since="2.8.9", group="hyperloglog", complexity="N/A",
         summary="Internal commands for debugging HyperLogLog values")  # fmt: skip
def pfdebug(session: Session, request: Request) -> Reply:
    key = request[2]
    value = _checked(session.keyspace.live(key))
    if value is None:
        raise CommandError("ERR The specified key does not exist")
    _unshare(session, key, value)
    # A word of C ends at a NUL.
    subcommand = request[1].partition(b"\0")[0]
    match subcommand.lower():
        case b"getreg":
            _make_dense(session, key, value)
            return list(registers_of(value))
        case b"decode":
            if is_dense(value):
                raise CommandError("ERR HLL encoding is not sparse")
            return told(value)
        case b"encoding":
            return Simple("dense" if is_dense(value) else "sparse")
        case b"todense":
            return int(_make_dense(session, key, value))
    raise CommandError(f"ERR Unknown PFDEBUG subcommand '{subcommand.decode('utf-8', 'surrogateescape')}'")


def _make_dense(session: Session, key: bytes, value: bytes) -> bool:
    """Store a sparse HyperLogLog as a dense one. Return False for one that is dense."""
    if is_dense(value):
        return False
    session.keyspace.change(key, dense(value), [b"PFDEBUG", b"TODENSE", key])
    return True


# Redis tests with ten million elements, which would keep all clients waiting for half a minute here.
_TESTED_ELEMENTS = (1, 10, 100, 1_000, 10_000)


@command("pfselftest", "", "admin",
         since="2.8.9", group="hyperloglog", complexity="N/A",
         summary="An internal command for testing HyperLogLog values")  # fmt: skip
def pfselftest(session: Session, request: Request) -> Reply:
    max_bytes = session.server.config.hll_sparse_max_bytes
    sparse, always_dense = HyperLogLog(EMPTY, max_bytes), HyperLogLog(dense(EMPTY), max_bytes)
    registers = bytes(register_of(b"%d" % index)[1] for index in range(REGISTERS))
    if unpacked(packed(registers)) != registers:
        raise CommandError("ERR TESTFAILED Registers are not what they were set to")
    for number in range(1, _TESTED_ELEMENTS[-1] + 1):
        element = number.to_bytes(8, "little")
        sparse.add(element)
        always_dense.add(element)
        if number in _TESTED_ELEMENTS:
            found = registers_of(always_dense.changed())
            if found != registers_of(sparse.changed()):
                raise CommandError("ERR TESTFAILED dense/sparse disagree")
            # Six times the standard error, as Redis allows.
            error = abs(number - estimate(found))
            if error > 1 + 6 * 1.04 / REGISTERS**0.5 * number:
                raise CommandError(f"ERR TESTFAILED Too big error. card:{number} abserr:{error}")
    return OK
