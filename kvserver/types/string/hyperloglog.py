"""HyperLogLogs: strings that estimate how many different elements were added to them, byte for byte as Redis has them. Pure.

A value is a header of 16 bytes ("HYLL", the encoding, three bytes that nobody uses, and the cardinality that was last
estimated, in little endian) and 16,384 registers. Each element belongs to one register, by its hash; the register holds the
longest run of zeros, and the one behind it, that a hash of its elements ended in. A dense value has six bits a register. A
sparse one has runs of equal registers (`hyperloglog_sparse`), as long as it is short and no register is above 32.

The format and the names are those of Redis 7.0's hyperloglog.c; the estimate is that of Otmar Ertl, "New cardinality
estimation algorithms for HyperLogLog sketches", arXiv:1702.01284. Unless they are a value's, registers are 16,384 bytes.
"""

from __future__ import annotations

from itertools import compress
from math import inf, sqrt
from typing import Final

from kvserver.errors import CommandError, DenseNeeded
from kvserver.types.string.hyperloglog_sparse import HEADER_BYTES, REGISTERS, SparseRegisters, expand

NO_HYPERLOGLOG: Final = "WRONGTYPE Key is not a valid HyperLogLog string value."

_MAGIC: Final = b"HYLL"
DENSE, SPARSE = 0, 1
DENSE_BYTES: Final = HEADER_BYTES + REGISTERS * 6 // 8
# One run of 16,384 zeros.
EMPTY: Final = _MAGIC + bytes((SPARSE,)) + bytes(11) + b"\x7f\xff"

# The place of the encoding, and that of the cardinality, whose highest bit tells that it is out of date.
_ENCODING, _CARDINALITY, _STALE = 4, 8, 15
_IS_STALE: Final = 0x80

# The number of low bits of a hash that name the register, and the number of the other ones.
_INDEX_BITS: Final = 14
_RUN_BITS: Final = 64 - _INDEX_BITS
_ALPHA: Final = 0.721347520444481703680  # 0.5 / ln(2)


# --- Elements ---

_MASK: Final = 0xFFFFFFFFFFFFFFFF
_FACTOR: Final = 0xC6A4A7935BD1E995
_SEED: Final = 0xADC83B19


def murmur64(data: bytes) -> int:
    """MurmurHash64A of some bytes (64 bits), by Redis's seed, and in little endian on all machines."""
    whole = len(data) & ~7
    digest = _SEED ^ (len(data) * _FACTOR & _MASK)
    for start in range(0, whole, 8):
        word = int.from_bytes(data[start : start + 8], "little") * _FACTOR & _MASK
        digest = (digest ^ ((word ^ word >> 47) * _FACTOR & _MASK)) * _FACTOR & _MASK
    if whole < len(data):
        digest = (digest ^ int.from_bytes(data[whole:], "little")) * _FACTOR & _MASK
    digest = (digest ^ digest >> 47) * _FACTOR & _MASK
    return digest ^ digest >> 47


def register_of(element: bytes) -> tuple[int, int]:
    """The register that an element belongs to, and the least that it holds once the element was added (1 to 51)."""
    digest = murmur64(element)
    run = digest >> _INDEX_BITS | 1 << _RUN_BITS
    return digest & (REGISTERS - 1), (run & -run).bit_length()


# --- Registers ---


def _shifted(shift: int, mask: int) -> bytes:
    """A table for `translate`: each byte shifted to the right, or to the left if `shift` is negative, then masked."""
    return bytes((byte >> shift if shift > 0 else byte << -shift) & mask for byte in range(256))


# Four registers stand in three bytes, the first one in the lowest bits. These are their parts, by byte.
_FIRST, _FOURTH = _shifted(0, 0x3F), _shifted(2, 0x3F)
_SECOND_LOW, _SECOND_HIGH = _shifted(6, 0x03), _shifted(-2, 0x3C)
_THIRD_LOW, _THIRD_HIGH = _shifted(4, 0x0F), _shifted(-4, 0x30)
# And the way back.
_INTO_FIRST, _INTO_SECOND, _INTO_THIRD = _shifted(-6, 0xC0), _shifted(-4, 0xF0), _shifted(-2, 0xFC)
_OUT_OF_SECOND, _OUT_OF_THIRD = _shifted(2, 0x0F), _shifted(4, 0x03)


def _either(one: bytes, other: bytes) -> bytes:
    """The bits that are set in either of two strings of one length."""
    return (int.from_bytes(one, "little") | int.from_bytes(other, "little")).to_bytes(len(one), "little")


def unpacked(packed: bytes) -> bytes:
    """The registers of a dense value without its header."""
    first, second, third = packed[0::3], packed[1::3], packed[2::3]
    registers = bytearray(REGISTERS)
    registers[0::4] = first.translate(_FIRST)
    registers[1::4] = _either(first.translate(_SECOND_LOW), second.translate(_SECOND_HIGH))
    registers[2::4] = _either(second.translate(_THIRD_LOW), third.translate(_THIRD_HIGH))
    registers[3::4] = third.translate(_FOURTH)
    return bytes(registers)


def packed(registers: bytes) -> bytes:
    """The registers as a dense value has them behind its header."""
    first, second, third, fourth = (registers[start::4] for start in range(4))
    data = bytearray(DENSE_BYTES - HEADER_BYTES)
    data[0::3] = _either(first, second.translate(_INTO_FIRST))
    data[1::3] = _either(second.translate(_OUT_OF_SECOND), third.translate(_INTO_SECOND))
    data[2::3] = _either(third.translate(_OUT_OF_THIRD), fourth.translate(_INTO_THIRD))
    return bytes(data)


_HIGH_BITS: Final = int.from_bytes(b"\x80" * REGISTERS, "little")


def highest(one: bytes, other: bytes) -> bytes:
    """For each register the higher one of two."""
    # All registers are compared at once: the high bit of each byte, which no register uses, is left where the first is not
    # below the second, and is made a mask of the other seven.
    first, second = int.from_bytes(one, "little"), int.from_bytes(other, "little")
    not_below = ((first | _HIGH_BITS) - second) & _HIGH_BITS
    mask = not_below - (not_below >> 7)
    return (second ^ ((first ^ second) & mask)).to_bytes(REGISTERS, "little")


def differing(one: bytes, other: bytes) -> list[int]:
    """The numbers of the registers that differ, in ascending order."""
    difference = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
    return list(compress(range(REGISTERS), difference.to_bytes(REGISTERS, "little")))


def estimate(registers: bytes) -> int:
    """The number of different elements that were added to these registers, as the 64 bits that Redis keeps of it."""
    counts, left = [0] * (_RUN_BITS + 2), registers
    for run in range(_RUN_BITS + 2):
        # Measured: to take out the registers that are equal takes less time than to count them.
        others = left.translate(None, bytes((run,)))
        counts[run] = len(left) - len(others)
        left = others
        if not left:
            break
    total = REGISTERS * _tau((REGISTERS - counts[-1]) / REGISTERS)
    for run in range(_RUN_BITS, 0, -1):
        total = (total + counts[run]) * 0.5
    total += REGISTERS * _sigma(counts[0] / REGISTERS)
    # Registers that no elements lead to may say infinity, or what has more than 63 bits.
    number = _ALPHA * REGISTERS * REGISTERS / total if total else inf
    if number >= 2**63:
        return 2**63
    return int(number) + (number - int(number) >= 0.5)


def _sigma(share: float) -> float:
    if share == 1.0:
        return inf
    factor, total, before = 1.0, share, -1.0
    while total != before:
        share *= share
        before = total
        total += share * factor
        factor += factor
    return total


def _tau(share: float) -> float:
    if share in (0.0, 1.0):
        return 0.0
    factor, total, before = 1.0, 1.0 - share, -1.0
    while total != before:
        share = sqrt(share)
        before = total
        factor *= 0.5
        total -= (1.0 - share) * (1.0 - share) * factor
    return total / 3


# --- Values ---


def check(value: bytes) -> None:
    """CommandError unless a string looks like a HyperLogLog. The runs of a sparse one are not looked at."""
    is_one = len(value) >= HEADER_BYTES and value.startswith(_MAGIC) and value[_ENCODING] in (DENSE, SPARSE)
    if not is_one or (value[_ENCODING] == DENSE and len(value) != DENSE_BYTES):
        raise CommandError(NO_HYPERLOGLOG)


def is_dense(value: bytes) -> bool:
    """True for a dense HyperLogLog, False for a sparse one."""
    return value[_ENCODING] == DENSE


def registers_of(value: bytes) -> bytes:
    """The registers of a HyperLogLog. CommandError for a sparse one whose runs are not those of 16,384 registers."""
    return unpacked(value[HEADER_BYTES:]) if is_dense(value) else expand(value)


def with_registers(value: bytes, registers: bytes) -> bytes:
    """A dense HyperLogLog with these registers, and else with the header of that value."""
    return value[:_ENCODING] + bytes((DENSE,)) + value[_ENCODING + 1 : HEADER_BYTES] + packed(registers)


def dense(value: bytes) -> bytes:
    """The same HyperLogLog as a dense one. CommandError as `registers_of` raises it."""
    return value if is_dense(value) else with_registers(value, expand(value))


def cardinality(value: bytes) -> int | None:
    """The estimate that a HyperLogLog keeps, or None if that is out of date."""
    return None if value[_STALE] & _IS_STALE else int.from_bytes(value[_CARDINALITY:HEADER_BYTES], "little")


def with_cardinality(value: bytes, number: int) -> bytes:
    """The same HyperLogLog, which keeps this estimate."""
    return value[:_CARDINALITY] + number.to_bytes(HEADER_BYTES - _CARDINALITY, "little") + value[HEADER_BYTES:]


class HyperLogLog:
    """A HyperLogLog that is being changed: `data` is the value. CommandError where runs are met that can't be.

    A sparse one is promoted, and dense then, where a register gets above 32, or where it would have more than `max_bytes`.
    """

    def __init__(self, value: bytes, max_bytes: int) -> None:
        self.data = bytearray(value)
        self.is_promoted = False
        self._sparse = None if is_dense(value) else SparseRegisters(self.data, max_bytes)

    def add(self, element: bytes) -> bool:
        """Add an element. Return False if it changes nothing."""
        return self.lift(*register_of(element))

    def lift(self, index: int, run: int) -> bool:
        """Let a register be no lower than `run`. Return False if it was not lower."""
        if self._sparse is not None:
            try:
                return self._sparse.lift(index, run)
            except DenseNeeded:
                self.data = bytearray(dense(bytes(self.data)))
                self.is_promoted = True
                self._sparse = None
        place, shift = divmod(6 * index, 8)
        place += HEADER_BYTES
        # The last register has no second byte.
        pair = self.data[place : place + 2]
        bits = int.from_bytes(pair, "little")
        present = bits >> shift & 0x3F
        if present >= run:
            return False
        self.data[place : place + 2] = (bits ^ (present ^ run) << shift).to_bytes(len(pair), "little")
        return True

    def changed(self) -> bytes:
        """The value, whose estimate is out of date."""
        self.data[_STALE] |= _IS_STALE
        return bytes(self.data)
