"""The users of a server, by name, the default one among them; and the file that they may be kept in.

A name always means the same object while its user is there, so that a session that has logged in keeps its user when the
rules change. Users are loaded together, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Final

from kvserver.acl.catalogue import Catalogue
from kvserver.acl.selector import UNKNOWN
from kvserver.acl.user import User, is_name
from kvserver.errors import RuleError

DEFAULT: Final = b"default"
DEFAULT_RULES: Final = (b"+@all", b"~*", b"&*", b"on", b"nopass")
DUPLICATE: Final = "Duplicate user found. A user can only be defined once in config files"
UNCHANGED: Final = "WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
UNMATCHED: Final = "Unmatched parenthesis in selector definition."
NOT_READ_BACK: Final = "a selector has a pattern with a parenthesis or a quote, so that its user would be read as another one"
# The rules that have a password in them, or its hash.
SECRET_SIGNS: Final = (b">", b"<", b"#", b"!")


class Users:
    """All users. `make_catalogue` gives the commands that rules may name; `all_channels` tells what new users may hear."""

    def __init__(self, make_catalogue: Callable[[], Catalogue], all_channels: Callable[[], bool]) -> None:
        # Most servers have no user but the default one, and never need it.
        self.catalogue = cache(make_catalogue)
        self._all_channels = all_channels
        self.default = User(DEFAULT)
        self._apply(self.default, DEFAULT_RULES)
        self._users = {DEFAULT: self.default}

    def get(self, name: bytes) -> User | None:
        """The user of this name, or None."""
        return self._users.get(name)

    @property
    def names(self) -> list[bytes]:
        """The names of all users, in order."""
        return sorted(self._users)

    def lines(self) -> list[bytes]:
        """The users as a file has them, a line each."""
        return [self._line(self._users[name]) for name in self.names]

    def _line(self, user: User) -> bytes:
        return b"user %b %b" % (user.name, user.describe(self.catalogue))

    def settings(self, password: bytes) -> list[list[bytes]]:
        """The users as the configuration has them: words each, the name first. None where the password says all there is."""
        usual = self._new(DEFAULT)
        self._apply(usual, DEFAULT_RULES)
        usual.set_password(password)
        # That payloads are looked through, which is so anyway, need not be said.
        usual.sanitizes = self.default.sanitizes or None
        if list(self._users) == [DEFAULT] and self.default.describe(self.catalogue) == usual.describe(self.catalogue):
            return []
        return [line.split(b" ")[1:] for line in self.lines()]

    def staged(self, name: bytes, rules: Sequence[bytes]) -> User:
        """A user with these rules behind those that the user of this name has. RuleError with the first one that is wrong."""
        staged, present = self._new(name), self._users.get(name)
        if present:
            staged.take(present)
        for rule in rules:
            try:
                self._apply(staged, (rule,))
            except RuleError as error:
                shown = rule.partition(b"\0")[0].decode("utf-8", "surrogateescape")
                raise RuleError(f"Error in ACL SETUSER modifier '{shown}': {error}") from None
        return staged

    def put(self, staged: User) -> User:
        """Let the user of this name have these rules; return it. It may be a new one."""
        user = self._users.setdefault(staged.name, staged)
        if user is not staged:
            user.take(staged)
        return user

    def delete(self, name: bytes) -> User | None:
        """Forget a user, and return it, or None if there is none of this name."""
        return self._users.pop(name, None)

    def configure(self, users: Iterable[Sequence[bytes]]) -> list[bytes]:
        """Add the users of the configuration, each with its name before its rules. Return the names of those that are off.

        RuleError, which shows no password, for what is no user.
        """
        seen = set()
        off = []
        for name, *words in users:
            shown = name.decode("utf-8", "backslashreplace")
            if not is_name(name):
                raise RuleError("Spaces not allowed in ACL usernames")
            if name in seen:
                raise RuleError(f"user {shown}: {DUPLICATE}")
            seen.add(name)
            rules = merged(words)
            if isinstance(rules, bytes):
                raise RuleError(f"user {shown}: {UNMATCHED}")
            user = self._new(name)
            if name == DEFAULT:
                self._apply(user, (b"reset",))
            for rule in rules:
                try:
                    self._apply(user, (rule,))
                except RuleError as error:
                    text = rule[:1] + b"(redacted)" if rule.startswith(SECRET_SIGNS) else rule
                    told = text.decode("utf-8", "backslashreplace")
                    raise RuleError(f"Error loading ACL rule '{told}' for the user named '{shown}': {error}") from None
            if not self.put(user).is_on:
                off.append(name)
        return off

    def read(self, text: bytes, path: str) -> dict[bytes, User]:
        """The users of a file. RuleError that tells, as Redis does, of all lines that are wrong."""
        users: dict[bytes, User] = {}
        errors = ""
        for number, line in enumerate(text.split(b"\n"), 1):
            words = line.strip(b" \t\r\n").split(b" ")
            if words == [b""]:
                continue
            name = words[1] if len(words) > 1 else b""
            shown = name.decode("utf-8", "surrogateescape")
            if words[0] != b"user" or len(words) < 2:
                errors += f"{path}:{number} should start with user keyword followed by the username. "
            elif not is_name(name):
                errors += f"'{path}:{number}: username '{shown}' contains invalid characters. "
            elif name in users:
                errors += f"WARNING: Duplicate user '{shown}' found on line {number}. "
            else:
                user = users[name] = self._new(name)
                rules = merged(words[2:])
                if isinstance(rules, bytes):
                    errors += f"{path}:{number}: {UNMATCHED}"
                else:
                    errors += self._apply_line(user, rules, f"{path}:{number}")
        if errors:
            raise RuleError(errors + UNCHANGED)
        return users

    def check_lines(self, lines: Sequence[bytes]) -> None:
        """RuleError if the users that these lines of a file give would be written in other lines.

        In a selector, a pattern may have a parenthesis or a quote, which nothing can hide from who reads the file.
        """
        users = self.read(b"\n".join(lines), "users")
        if [self._line(users[name]) for name in sorted(users)] != list(lines):
            raise RuleError(NOT_READ_BACK)

    def check_settings(self, settings: Iterable[Sequence[bytes]]) -> None:
        """The same for the users of a configuration, as `settings` gives them."""
        given = [b" ".join([b"user", *words]) for words in settings]
        read = Users(self.catalogue, self._all_channels)
        read.configure(settings)
        # What is set of the default user begins at `reset`, which says so much of payloads.
        said = [line.replace(b" sanitize-payload ", b" ") for line in given]
        if said and [line.replace(b" sanitize-payload ", b" ") for line in read.lines()] != said:
            raise RuleError(NOT_READ_BACK)

    def replace(self, users: dict[bytes, User]) -> list[User]:
        """Have these users, by their names, in the place of all others; without a default one, that may do everything.

        Return those that are gone: all but the default one, as in Redis.
        """
        gone = [user for user in self._users.values() if user is not self.default]
        given = users.get(DEFAULT)
        if given is None:
            given = User(DEFAULT)
            self._apply(given, DEFAULT_RULES)
        self.default.take(given)
        self._users = {**users, DEFAULT: self.default}
        return gone

    def take(self, others: Users) -> None:
        """Have the users that these are, who are used no more by whoever had them."""
        self.replace(others._users)

    def _apply_line(self, user: User, rules: list[bytes], place: str) -> str:
        """Apply the rules of a line of a file; return what is wrong with them.

        A word that names nothing is told. Of other errors it is the first one, which may lead to more.
        """
        errors = ""
        is_told = False
        for rule in rules:
            try:
                self._apply(user, (rule.strip(b"\t\r\n"),))
            except RuleError as error:
                if str(error) == UNKNOWN:
                    errors += f"{place}: Error in applying operation '{rule.decode('utf-8', 'surrogateescape')}': {error}. "
                elif not is_told:
                    errors += f"{place}: {error}. "
                    is_told = True
        return errors

    def _new(self, name: bytes) -> User:
        return User(name, all_channels=self._all_channels())

    def _apply(self, user: User, rules: Iterable[bytes]) -> None:
        for rule in rules:
            user.apply(rule, self.catalogue, all_channels=self._all_channels())


def merged(words: Sequence[bytes]) -> list[bytes] | bytes:
    """The rules that words are, a selector that stands in several words put together; or the word whose `(` has no end."""
    rules: list[bytes] = []
    selector = b""
    begun = b""
    for word in words:
        if word.startswith(b"(") and not word.endswith(b")"):
            selector = begun = word
        elif begun:
            selector += b" " + word
            if word.endswith(b")"):
                rules.append(selector)
                begun = b""
        else:
            rules.append(word)
    return begun or rules
