"""The catalogue of commands for rules: each command is a bit, and each category, and each command with its subcommands, some.

What a user may run is one integer. All bits of -1 are set, also those of commands that there will be, so that `+@all` is -1
and the sign tells if a user may run what comes later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

EVERYTHING: Final = -1
NOTHING: Final = 0


class Catalogue:
    """The commands and subcommands by their full names (`get`, `config|get`), given with their categories (`@read`).

    `categories` are all categories that there are, in the order in which they are told.
    """

    def __init__(self, commands: Mapping[str, Iterable[str]], categories: Iterable[str]) -> None:
        self.bits = {name: 1 << place for place, name in enumerate(commands)}
        # A command, and all of its subcommands.
        self.wholes = dict(self.bits)
        for name, bit in self.bits.items():
            container, bar, _ = name.partition("|")
            if bar:
                self.wholes[container] |= bit
        self.categories = dict.fromkeys((category.removeprefix("@") for category in categories), NOTHING)
        # A rule about a category is one about each of its commands as a whole.
        self.wholes_of = dict(self.categories)
        for name, its_categories in commands.items():
            for category in its_categories:
                self.categories[category.removeprefix("@")] |= self.bits[name]
                self.wholes_of[category.removeprefix("@")] |= self.wholes[name]

    def is_container(self, name: str) -> bool:
        """True for a command that has subcommands."""
        return self.wholes[name] != self.bits[name]

    def names(self, mask: int) -> frozenset[str]:
        """The names of the commands whose bits are set."""
        return frozenset(name for name, bit in self.bits.items() if mask & bit)

    def describe(self, mask: int, first_arguments: Mapping[str, tuple[bytes, ...]]) -> bytes:
        """The rules that make this mask, as Redis 7.0 tells them.

        They begin with all commands, or none. Categories follow that have more in common with the mask than not, the best
        first, then single commands, then the calls of others that are allowed by their first argument.
        """
        adds = mask >= 0
        sign, made = ("+", NOTHING) if adds else ("-", EVERYTHING)
        words = ["-@all" if adds else "+@all"]
        # What the rules so far have not dealt with.
        open_mask = mask if adds else ~mask
        left = dict(self.categories)
        while left:
            best, least, most = "", -1, 0
            for category, members in left.items():
                same = (members & open_mask).bit_count()
                other = members.bit_count() - same
                if same > other and (least < 0 or other < least or (other == least and same > most)):
                    best, least, most = category, other, same
            if not best:
                break
            words.append(f"{sign}@{best}")
            whole = self.wholes_of[best]
            made = made | whole if adds else made & ~whole
            open_mask &= ~whole
            del left[best]
        found = [word.encode() for word in words]
        for name, bit in self.bits.items():
            if (mask ^ made) & bit:
                found.append((b"+" if mask & bit else b"-") + name.encode())
                made = made | self.wholes[name] if mask & bit else made & ~self.wholes[name]
            if not mask & bit:
                found += [b"+%b|%b" % (name.encode(), word) for word in first_arguments.get(name, ())]
        return b" ".join(found)
