"""A user: whether it may log in, by which passwords, and what it may do then. Passwords are kept as hashes alone."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Final

from kvserver.acl.catalogue import NOTHING, Catalogue
from kvserver.acl.guarded import Guarded
from kvserver.acl.selector import DENIED_COMMAND, Denial, Selector, has_spaces
from kvserver.errors import RuleError
from kvserver.options.words import split_arguments
from kvserver.resp.request import Request

NO_SUCH_PASSWORD: Final = "The password you are trying to remove from the user does not exist"
NO_HASH: Final = "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"

_HASH_LENGTH: Final = 64
_HEXADECIMAL: Final = frozenset(b"0123456789abcdef")


def password_hash(password: bytes) -> bytes:
    """The SHA-256 of a password, in hexadecimal."""
    return sha256(password).hexdigest().encode()


class User:
    """A user by its name. A new one may do nothing, and can't log in.

    - `is_on`: who has a password may log in. `needs_no_password`: any word will do for one.
    - `passwords` are the hashes of its passwords. `sanitizes` is what is set about payloads of RESTORE, or None: they are all
      looked through here.
    - `selectors`: what one of them allows is allowed. The first one is the user's own.
    """

    def __init__(self, name: bytes, *, all_channels: bool = False) -> None:
        self.name = name
        self.is_on = False
        self.needs_no_password = False
        self.sanitizes: bool | None = None
        self.passwords: dict[bytes, None] = {}
        self.selectors = [Selector(all_channels=all_channels)]
        # The names of the commands of each selector, when they were asked for.
        self._allowed: list[frozenset[str]] | None = None

    def take(self, other: User) -> None:
        """Have another user's rules in the place of one's own."""
        self.is_on, self.needs_no_password, self.sanitizes = other.is_on, other.needs_no_password, other.sanitizes
        self.passwords = dict(other.passwords)
        self.selectors = [selector.copy() for selector in other.selectors]
        self._allowed = None

    # --- Rules ---

    def apply(self, rule: bytes, catalogue: Callable[[], Catalogue], *, all_channels: bool) -> None:
        """Apply a rule as SETUSER does. RuleError for what is none. `all_channels`: new selectors allow all channels."""
        self._allowed = None
        match rule.partition(b"\0")[0].lower():
            case b"":
                if rule:
                    raise RuleError("Syntax error")
            case b"on" | b"off" as state:
                self.is_on = state == b"on"
            case b"sanitize-payload" | b"skip-sanitize-payload" as flag:
                self.sanitizes = flag == b"sanitize-payload"
            case b"nopass" | b"resetpass" as need:
                self.needs_no_password, self.passwords = need == b"nopass", {}
            case _ if rule[:1] in (b">", b"#"):
                self.passwords[_hash_of(rule)] = None
                self.needs_no_password = False
            case _ if rule[:1] in (b"<", b"!"):
                digest = _hash_of(rule)
                if digest not in self.passwords:
                    raise RuleError(NO_SUCH_PASSWORD)
                del self.passwords[digest]
            case _ if rule[:1] == b"(" and rule[-1:] == b")":
                selector = Selector(all_channels=all_channels)
                for word in split_arguments(rule[1:-1]) or ():
                    selector.apply(word, catalogue)
                self.selectors.append(selector)
            case b"clearselectors":
                del self.selectors[1:]
            case b"reset":
                self.take(User(self.name, all_channels=all_channels))
                self.sanitizes = True
            case _:
                self.selectors[0].apply(rule, catalogue)

    def set_password(self, password: bytes) -> None:
        """Have this one password, or none if it is empty: what requirepass means for the default user."""
        self.needs_no_password = not password
        self.passwords = {password_hash(password): None} if password else {}

    @property
    def flags(self) -> list[bytes]:
        """The words about the user itself, in Redis's order."""
        words = [b"on" if self.is_on else b"off"]
        if self.needs_no_password:
            words.append(b"nopass")
        if self.sanitizes is not None:
            words.append(b"sanitize-payload" if self.sanitizes else b"skip-sanitize-payload")
        return words

    def describe(self, catalogue: Callable[[], Catalogue]) -> bytes:
        """The rules that make this user, as in a file of users."""
        root, *others = (selector.describe(catalogue) for selector in self.selectors)
        hashes = [b"#" + digest for digest in self.passwords]
        return b" ".join([*self.flags, *hashes, root, *(b"(%b)" % other for other in others)])

    # --- Who it is, and what it may do ---

    @property
    def is_open(self) -> bool:
        """True if nobody has to log in to be this user."""
        return self.is_on and self.needs_no_password

    @property
    def is_unrestricted(self) -> bool:
        """True if the user may do everything."""
        return any(selector.is_unrestricted for selector in self.selectors)

    def accepts(self, password: bytes) -> bool:
        """True if one may log in with this password. The time that it takes tells nothing of the passwords."""
        if not self.is_on:
            return False
        if self.needs_no_password:
            return True
        given = password_hash(password)
        # All are compared, whichever is the right one.
        return sum(hmac.compare_digest(given, digest) for digest in self.passwords) > 0

    def denial(self, command: Guarded, request: Request, catalogue: Callable[[], Catalogue]) -> Denial | None:
        """The reason why a call is denied, or None. Of several selectors, the one that comes closest gives it."""
        allowed = self._allowed
        if allowed is None:
            allowed = self._allowed = [
                catalogue().names(each.commands) if each.commands != NOTHING else frozenset() for each in self.selectors
            ]
        if len(allowed) == 1:
            return self.selectors[0].denial(command, request, allowed[0])
        told = DENIED_COMMAND
        for selector, names in zip(self.selectors, allowed, strict=True):
            denial = selector.denial(command, request, names)
            if denial is None:
                return None
            told = max(told, denial)
        return told

    def may_read_all_keys(self, command: Guarded, request: Request, catalogue: Callable[[], Catalogue]) -> bool:
        """True if one selector allows this call, and all keys to be read: who names none may get at any key."""
        self.denial(command, request, catalogue)
        assert self._allowed is not None
        return any(
            selector.reads_all_keys and selector.denial(command, request, names) is None
            for selector, names in zip(self.selectors, self._allowed, strict=True)
        )

    def allows_channels(self, channels: Iterable[bytes], patterns: Iterable[bytes]) -> bool:
        """True if all of these may be subscribed to, by whatever selectors."""
        return any(selector.all_channels for selector in self.selectors) or (
            all(any(pattern in selector.channels for selector in self.selectors) for pattern in patterns)
            and all(any(selector.allows_channel(channel) for selector in self.selectors) for channel in channels)
        )


def _hash_of(rule: bytes) -> bytes:
    """The hash that a rule about a password means, which has the password or its hash. RuleError if that is no hash."""
    if rule[:1] in (b">", b"<"):
        return password_hash(rule[1:])
    if len(rule) != _HASH_LENGTH + 1 or not _HEXADECIMAL.issuperset(rule[1:]):
        raise RuleError(NO_HASH)
    return rule[1:]


def is_name(name: bytes) -> bool:
    """True for what may be the name of a user."""
    return not has_spaces(name)
