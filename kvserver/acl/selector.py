"""A selector: rules that hold together, about commands, keys and channels. A user has one of its own, and perhaps more.

The rules and their errors are those of acl.c of redis 7.0. A selector is changed while rules are read, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple

from kvserver.acl.catalogue import EVERYTHING, NOTHING, Catalogue
from kvserver.acl.guarded import READ, WRITE, Guarded
from kvserver.errors import RuleError
from kvserver.patterns import Matcher, matcher
from kvserver.resp.request import Request

UNKNOWN: Final = "Unknown command or category name in ACL"
SYNTAX: Final = "Syntax error"
NEEDLESS: Final = (
    "Adding a pattern after the * pattern (or the 'all{0}' flag) is not valid and does not have any effect. Try 'reset{0}' to "
    "start with an empty list of {1}"
)
ARGUMENT_OF_SUBCOMMAND: Final = "Allowing first-arg of a subcommand is not supported"

_SPACES: Final = frozenset(b" \t\n\v\f\r\0")
_SIGNS: Final = {READ: b"%R~", WRITE: b"%W~", READ | WRITE: b"~"}


class Reason(IntEnum):
    """What a user lacks; of several, the highest one is told."""

    COMMAND = 1
    KEY = 2
    AUTH = 3
    CHANNEL = 4


class Denial(NamedTuple):
    """A call is denied, for a reason; if that is a key or a channel, for the word at `place`."""

    reason: Reason
    place: int = 0


DENIED_COMMAND: Final = Denial(Reason.COMMAND)


def has_spaces(text: bytes) -> bool:
    """True for what can't be a name or a pattern, since it has white space or a NUL."""
    return not _SPACES.isdisjoint(text)


class Selector:
    """What a selector allows; nothing at first, but with `all_channels` all channels.

    `commands` is a mask of the catalogue's. `first_arguments` has, by the names of commands that are not allowed as such, the
    words that may stand behind them. `keys` and `channels` are patterns, those of keys with what may be done with the keys.
    """

    def __init__(self, *, all_channels: bool = False) -> None:
        self.commands = NOTHING
        self.first_arguments: dict[str, tuple[bytes, ...]] = {}
        self.all_keys = False
        self.keys: dict[bytes, int] = {}
        self.all_channels = all_channels
        self.channels: dict[bytes, None] = {}
        # What matches these patterns, when it was asked for.
        self._key_matchers: list[tuple[int, Matcher]] | None = None
        self._channel_matchers: list[Matcher] | None = None

    def copy(self) -> Selector:
        """Another selector with the same rules."""
        other = Selector(all_channels=self.all_channels)
        other.commands, other.all_keys = self.commands, self.all_keys
        other.first_arguments = dict(self.first_arguments)
        other.keys, other.channels = dict(self.keys), dict(self.channels)
        return other

    @property
    def is_unrestricted(self) -> bool:
        """True if everything is allowed."""
        return self.commands == EVERYTHING and self.all_keys and self.all_channels

    @property
    def reads_all_keys(self) -> bool:
        """True if every key may be read. As in Redis, of the patterns none but the star says so."""
        return self.all_keys or bool(self.keys.get(b"*", 0) & READ)

    # --- Rules ---

    def apply(self, rule: bytes, catalogue: Callable[[], Catalogue]) -> None:
        """Apply a rule. RuleError for what is none. The catalogue is only asked for where a rule names something."""
        self._key_matchers = self._channel_matchers = None
        # As in Redis, words end at a NUL, but for patterns, which can't have one.
        word = rule.partition(b"\0")[0]
        match word.lower():
            case b"allkeys" | b"~*":
                self.all_keys, self.keys = True, {}
            case b"resetkeys":
                self.all_keys, self.keys = False, {}
            case b"allchannels" | b"&*":
                self.all_channels, self.channels = True, {}
            case b"resetchannels":
                self.all_channels, self.channels = False, {}
            case b"allcommands" | b"+@all":
                self.commands, self.first_arguments = EVERYTHING, {}
            case b"nocommands" | b"-@all":
                self.commands, self.first_arguments = NOTHING, {}
            case _ if word[:1] in (b"~", b"%"):
                self._add_keys(rule)
            case _ if word[:1] == b"&":
                self._add_channels(rule[1:])
            case _ if word[:1] in (b"+", b"-"):
                self._change_commands(word[:1] == b"+", word[1:].decode("utf-8", "surrogateescape"), catalogue())
            case _:
                raise RuleError(SYNTAX)

    def _add_keys(self, rule: bytes) -> None:
        if self.all_keys:
            raise RuleError(NEEDLESS.format("keys", "patterns"))
        uses, pattern = READ | WRITE, rule[1:]
        if rule[:1] == b"%":
            # As in Redis, the pattern is empty where there is no tilde.
            letters, _, pattern = pattern.partition(b"~")
            if sorted(letters.upper()) not in ([*b"R"], [*b"W"], [*b"RW"]):
                raise RuleError(SYNTAX)
            uses = (READ if b"R" in letters.upper() else 0) | (WRITE if b"W" in letters.upper() else 0)
        if has_spaces(pattern):
            raise RuleError(SYNTAX)
        self.keys[pattern] = self.keys.get(pattern, 0) | uses

    def _add_channels(self, pattern: bytes) -> None:
        if self.all_channels:
            raise RuleError(NEEDLESS.format("channels", "channels"))
        if has_spaces(pattern):
            raise RuleError(SYNTAX)
        self.channels[pattern] = None

    def _change_commands(self, allows: bool, name: str, catalogue: Catalogue) -> None:
        lower = name.lower()
        if lower.startswith("@"):
            if lower[1:] not in catalogue.categories:
                raise RuleError(UNKNOWN)
            self._set(catalogue.wholes_of[lower[1:]], allows, catalogue)
        elif lower in catalogue.bits:
            self._set(catalogue.wholes[lower], allows, catalogue)
        else:
            command, bar, argument = name.rpartition("|")
            command = command.lower()
            if not allows or not bar or command not in catalogue.bits:
                raise RuleError(UNKNOWN)
            if "|" in command:
                raise RuleError(ARGUMENT_OF_SUBCOMMAND)
            given = argument.encode("utf-8", "surrogateescape")
            # With white space, which Redis takes, the rule would be others in a file, or another user.
            if not given or has_spaces(given):
                raise RuleError(SYNTAX)
            if catalogue.is_container(command):
                raise RuleError(UNKNOWN)
            present = self.first_arguments.get(command, ())
            if given.lower() not in [each.lower() for each in present]:
                self.first_arguments[command] = (*present, given)

    def _set(self, mask: int, allows: bool, catalogue: Catalogue) -> None:
        self.commands = self.commands | mask if allows else self.commands & ~mask
        for name in list(self.first_arguments):
            if catalogue.bits[name] & mask:
                del self.first_arguments[name]

    # --- What they tell ---

    def describe_keys(self) -> bytes:
        """The rules about keys, as GETUSER tells them."""
        return b"~*" if self.all_keys else b" ".join(_SIGNS[uses] + pattern for pattern, uses in self.keys.items())

    def describe_channels(self) -> bytes:
        """The rules about channels, as GETUSER tells them."""
        return b"&*" if self.all_channels else b" ".join(b"&" + pattern for pattern in self.channels)

    def describe_commands(self, catalogue: Callable[[], Catalogue]) -> bytes:
        """The rules about commands."""
        if self.commands in (EVERYTHING, NOTHING) and not self.first_arguments:
            return b"+@all" if self.commands else b"-@all"
        return catalogue().describe(self.commands, self.first_arguments)

    def describe(self, catalogue: Callable[[], Catalogue]) -> bytes:
        """All rules, as in a file of users."""
        channels = self.describe_channels() if self.all_channels else b"resetchannels " + self.describe_channels()
        parts = (self.describe_keys(), channels.rstrip(b" "), self.describe_commands(catalogue))
        return b" ".join(part for part in parts if part)

    # --- What they allow ---

    def allows_channel(self, channel: bytes) -> bool:
        """True if the channel may be published and subscribed to."""
        if self._channel_matchers is None:
            self._channel_matchers = [matcher(pattern) for pattern in self.channels]
        return self.all_channels or any(matches(channel) for matches in self._channel_matchers)

    def _allows_first_argument(self, command: Guarded, request: Request) -> bool:
        """True if a command that is not allowed as such may be called so."""
        if command.is_for_all:
            return True
        words = self.first_arguments.get(command.name)
        return words is not None and len(request) > 1 and request[1].lower() in [word.lower() for word in words]

    def denial(self, command: Guarded, request: Request, allowed: frozenset[str]) -> Denial | None:
        """The reason why a call is denied, or None; `allowed` are the names of the commands whose bits are set."""
        if command.name not in allowed and not self._allows_first_argument(command, request):
            return DENIED_COMMAND
        # Measured: the loops written out take half of what a method for each key takes.
        if not self.all_keys:
            matchers = self._key_matchers
            if matchers is None:
                matchers = self._key_matchers = [(uses, matcher(pattern)) for pattern, uses in self.keys.items()]
            for place, need in command.key_needs(request):
                key = request[place]
                for uses, matches in matchers:
                    if uses & need == need and matches(key):
                        break
                else:
                    return Denial(Reason.KEY, place)
        if not self.all_channels:
            for place in command.channel_places(request):
                channel = request[place]
                # A pattern that is subscribed to has to stand in the rules itself.
                if not (channel in self.channels if command.has_pattern_channels else self.allows_channel(channel)):
                    return Denial(Reason.CHANNEL, place)
        return None
