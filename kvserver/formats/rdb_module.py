"""Values of Redis's modules in RDB files and DUMP payloads: the name of their type, and what the module has saved. Pure.

A value is the id of its type, a length of 64 bits: nine characters of six bits each, and the version of the module's own
format in the lower ten bits. Behind it stand items up to one of kind 0; each is its kind and a number, a float or a string.
Source: moduleTypeEncodeId and the functions RM_Save… in module.c of redis 7.0.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from kvserver._speedups.rdb_strings import write_length, write_string
from kvserver.errors import DumpInvalid
from kvserver.formats.rdb import BAD_FORMAT, Reader

MODULE: Final = 7
# As `rdb_shape` reads it.
MODULE_SHAPE: Final = b"nm"
_CHARACTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_NAME_LENGTH: Final = 9
_CHARACTER_BITS: Final = 6
_VERSION_BITS: Final = 10
_END, _SIGNED, _UNSIGNED, _FLOAT, _DOUBLE, _STRING = range(6)
_FLOATS: Final = {_FLOAT: Struct("<f"), _DOUBLE: Struct("<d")}

Item = int | float | bytes


class ModuleValue(NamedTuple):
    """A value of a module: the name of its type, nine characters, the version of its format, and what it has saved."""

    name: str
    version: int
    items: list[Item]


def read_module(body: bytes, max_bytes: int) -> ModuleValue:
    """The value with this body. DumpInvalid if it is none. No compressed string in it may have more than `max_bytes` bytes."""
    reader = Reader(body)
    name, version = _type_of(reader.length())
    items: list[Item] = []
    while (kind := reader.length()) != _END:
        if kind in (_SIGNED, _UNSIGNED):
            number = reader.length()
            items.append(number - (1 << 64) if kind == _SIGNED and number >> 63 else number)
        elif kind in _FLOATS:
            items += _FLOATS[kind].unpack(reader.take(_FLOATS[kind].size))
        elif kind == _STRING:
            items.append(reader.string(max_bytes))
        else:
            raise DumpInvalid(BAD_FORMAT)
    reader.end()
    return ModuleValue(name, version, items)


def write_module_string(name: str, version: int, string: bytes) -> bytes:
    """The type and the body of a value for which its module saves one string."""
    head, end = module_head(name, version)
    return head + write_string(string) + end


def module_head(name: str, version: int) -> tuple[bytes, bytes]:
    """What stands before and behind the one string that a module saves for a value: the type, and the ends of the body."""
    number = 0
    for character in name:
        number = number << _CHARACTER_BITS | _CHARACTERS.index(character)
    head = write_length(number << _VERSION_BITS | version) + write_length(_STRING)
    return bytes((MODULE,)) + head, write_length(_END)


def _type_of(number: int) -> tuple[str, int]:
    """The name and the version that an id has."""
    version, number = number & ((1 << _VERSION_BITS) - 1), number >> _VERSION_BITS
    shifts = range(_CHARACTER_BITS * (_NAME_LENGTH - 1), -1, -_CHARACTER_BITS)
    mask = (1 << _CHARACTER_BITS) - 1
    return "".join(_CHARACTERS[number >> shift & mask] for shift in shifts), version
