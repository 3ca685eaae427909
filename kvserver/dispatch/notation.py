"""The words of a command in a short notation, and all that follows from it: arity, keys, COMMAND DOCS, the parsing of options.

    key:key value                two arguments: a name and, unless it is `string`, a type
    destination:key#1            a key of the second key specification, or a `pattern#1` for the names of its keys
    channel:not-key              a string that a key specification counts as if it were a key
    NX                           a word that stands for itself
    EX=seconds:integer           a word, and an argument behind it
    when<NX|XX>                  one of several
    pair{key:key value}          several that belong together
    (IDLETIME=s|FREQ=f)          several that exclude each other, which COMMAND DOCS tells apart
    [value]? [value]+ [value]++  optional, repeated, repeated with its word
    SCHEDULE?!                   given at most once: a second one is a syntax error, where usually the last one counts
    GET?@6.2.0                   since a version of Redis

The options of a command are the arguments that begin with a word of their own: they come in any order behind the arguments
in front of them. A notation is read only when somebody asks for what follows from it, so that a server starts quickly. Pure;
names no command, and never looks at a session.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from kvserver.dispatch.arguments import SYNTAX_ERROR
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply, SetOf, Simple
from kvserver.state.description import KeySpecification

_TYPES = "(?:key|pattern|integer|double|unix-time|pure-token|string|not-key)(?:#[0-9])?"
_PLAIN = r"[^\s<>{}()|?+!@=]"
_PART = re.compile(rf"(?:(?P<token>=|{_PLAIN}*)=)?(?P<name>{_PLAIN}+?)(?::(?P<type>{_TYPES}))?(?=[\s<>{{}}()|?+!@]|$)")
_SUFFIX = re.compile(r"(\?)?(\+{0,2})(!)?(?:@([0-9.]+))?")
_ENDS = {"<": (">", "oneof"), "{": ("}", "block")}
_KEYS: Final = ("key", "not-key")
# The name of the argument that says how many keys follow.
_NUMBER_OF_KEYS: Final = "numkeys"


class Argument(NamedTuple):
    """One argument, as in COMMAND DOCS.

    - `specification` is the number of its key specification (from 0), or None if the argument is about no keys.
    - `is_once`: a second one is a syntax error. `since`: the version of Redis that it came with, or None.
    - `rivals` is the text of the parentheses in which it stands with those that exclude it; empty: in none.
    """

    name: str
    type: str
    token: str | None
    specification: int | None
    is_optional: bool
    is_multiple: bool
    has_multiple_tokens: bool
    is_once: bool
    since: str | None
    inner: tuple[Argument, ...]
    rivals: str

    @property
    def least(self) -> int:
        """The least number of words that the argument takes."""
        return 0 if self.is_optional else self.least_given

    @property
    def least_given(self) -> int:
        """The least number of words that the argument takes where it is given."""
        if self.type == "pure-token":
            return 1
        own = 0 if self.token is None else 1
        if self.type == "oneof":
            return own + min(argument.least_given for argument in self.inner)
        if self.type == "block":
            return own + sum(argument.least for argument in self.inner)
        return own + 1

    @property
    def is_fixed(self) -> bool:
        """True if the argument takes the same number of words in all calls."""
        if self.is_optional or self.is_multiple:
            return False
        is_even = self.type != "oneof" or len({argument.least_given for argument in self.inner}) == 1
        return is_even and all(argument.is_fixed for argument in self.inner)

    @property
    def first_tokens(self) -> frozenset[str]:
        """The words by which the argument can begin; empty, if it can begin with any word."""
        if self.token is not None:
            return frozenset((self.token,))
        if self.type == "oneof" and all(argument.first_tokens for argument in self.inner):
            return frozenset().union(*(argument.first_tokens for argument in self.inner))
        return self.inner[0].first_tokens if self.type == "block" else frozenset()

    @property
    def is_option(self) -> bool:
        """True if the argument begins with a word of its own, and may be missing or takes more than that word."""
        return bool(self.first_tokens) and (self.is_optional or self.least_given > 1)

    @property
    def is_word(self) -> bool:
        """True if the argument is a word that stands for itself, or one of several such words."""
        return self.type == "pure-token" or (self.type == "oneof" and all(argument.is_word for argument in self.inner))

    def describe(self) -> Reply:
        """The argument as COMMAND DOCS tells it: a map."""
        described: dict[Reply, Reply] = {
            b"name": self.name.encode(),
            b"type": b"string" if self.type == "not-key" else self.type.encode(),
        }
        if self.type != "not-key" and self.specification is not None:
            described[b"key_spec_index"] = self.specification
        if self.token is not None:
            described[b"token"] = self.token.encode()
        if self.since:
            described[b"since"] = self.since.encode()
        flags = {"optional": self.is_optional, "multiple": self.is_multiple, "multiple_token": self.has_multiple_tokens}
        if any(flags.values()):
            described[b"flags"] = SetOf(Simple(flag) for flag, holds in flags.items() if holds)
        if self.inner:
            described[b"arguments"] = [argument.describe() for argument in self.inner]
        return described


class _Reader:
    """Reads a notation from left to right. ValueError, with the notation and the place, for what is no notation."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0

    def read_all(self) -> tuple[Argument, ...]:
        """The arguments of the whole notation."""
        found = self._read("", "")
        if self._place != len(self._text):
            raise ValueError(f"{self._text!r} has something behind its end at {self._place}")
        return found

    def _read(self, end_mark: str, rivals: str) -> tuple[Argument, ...]:
        """Read the arguments up to an end mark, and the mark; the empty mark is the end of the text."""
        text = self._text
        found: list[Argument] = []
        while self._place < len(text) and text[self._place] != end_mark:
            if text[self._place] in " |":
                self._place += 1
            elif text[self._place] == "(":
                start = self._place
                self._place += 1
                found += self._read(")", text[start : text.find(")", start) + 1])
            else:
                found.append(self._read_one(rivals))
        if end_mark:
            if self._place >= len(text):
                raise ValueError(f"{text!r} lacks a {end_mark}")
            self._place += 1
        return tuple(found)

    def _read_one(self, rivals: str) -> Argument:
        text = self._text
        part = _PART.match(text, self._place)
        if part is None:
            raise ValueError(f"{text!r} has no argument at {self._place}")
        token, name, kind = part.groups()
        self._place = part.end()
        inner: tuple[Argument, ...] = ()
        if text[self._place : self._place + 1] in _ENDS:
            mark, kind = _ENDS[text[self._place]]
            self._place += 1
            inner = self._read(mark, "")
        suffix = _SUFFIX.match(text, self._place)
        assert suffix is not None
        optional, multiple, once, since = suffix.groups()
        self._place = suffix.end()
        if kind is None and token is None and name.isupper():
            token, name, kind = name, name.lower(), "pure-token"
        kind, _, number = (kind or "string").partition("#")
        specification = int(number or 0) if number or kind in _KEYS else None
        return Argument(
            name, kind, token, specification, bool(optional), bool(multiple), multiple == "++", bool(once), since,
            inner, rivals,
        )  # fmt: skip


def read(text: str) -> tuple[Argument, ...]:
    """The arguments that a notation means. ValueError for what is no notation."""
    return _Reader(text).read_all()


# --- Keys ---


class _KeySearch:
    """Finds the key specifications (`found`, by number) in arguments, of which the first is the word `start` of a call."""

    def __init__(self, arguments: Sequence[Argument], start: int) -> None:
        self.found: dict[int, KeySpecification] = {}
        self._arguments = arguments
        least = start
        previous = ""
        for place, argument in enumerate(arguments):
            self._search(argument, least, previous, place)
            least += argument.least
            previous = argument.name

    def _search(self, argument: Argument, index: int, previous: str, place: int) -> None:
        keyword = argument.token if argument.token is not None and argument.type != "pure-token" else ""
        if argument.type in _KEYS:
            self._add(argument, index, keyword, previous, place, step=1, is_multiple=argument.is_multiple, limit=0)
            return
        width = sum(inner.least for inner in argument.inner)
        multiple = sum(inner.is_multiple for inner in argument.inner)
        offset = 0
        for inner in argument.inner:
            if inner.type in _KEYS:
                is_multiple = inner.is_multiple or argument.is_multiple
                step = width if argument.is_multiple else 1
                limit = multiple if inner.is_multiple and multiple > 1 else 0
                self._add(inner, index + offset, keyword, previous, place, step=step, is_multiple=is_multiple, limit=limit)
            if argument.type == "block":
                offset += inner.least

    def _add(
        self, key: Argument, index: int, keyword: str, previous: str, place: int, *, step: int, is_multiple: bool, limit: int
    ) -> None:
        specification = key.specification or 0
        present = self.found.get(specification)
        # Another key stands right behind the first one, as in LCS.
        if present is not None:
            self.found[specification] = present._replace(last=present.last + 1)
        elif previous == _NUMBER_OF_KEYS:
            self.found[specification] = KeySpecification((), index - 1, step=step, is_counted=True)
        else:
            behind = 0 if keyword else sum(argument.least for argument in self._arguments[place + 1 :])
            last = -1 - behind if is_multiple else 0
            self.found[specification] = KeySpecification((), index, keyword, last, step, limit)


# --- Options ---


class _Option(NamedTuple):
    """A word that begins an option, and what stands behind that word.

    - `width` is the number of words behind it; None: as many as the caller of `parse` says, or all.
    - Only one option of a `group` can be given; the empty group has no such rule.
    - `choices`, if there are some, are all words (in capitals) that can stand behind it.
    - `inner`, if it is not None, has the options of which one must follow.
    - `convert` makes numbers of the words behind it.
    """

    token: str
    width: int | None
    group: str
    is_once: bool
    is_repeated: bool
    choices: frozenset[bytes]
    inner: Mapping[bytes, _Option] | None
    convert: Callable[[bytes], int] | None


class Options:
    """The options of a call, by their words in capitals: `"NX" in options`, `options["EX"]`.

    `end` is the position of the first word behind them.
    """

    __slots__ = ("_chosen", "_numbers", "_words", "end")

    def __init__(self) -> None:
        self._words: dict[str, list[bytes]] = {}
        self._chosen: dict[str, str] = {}
        self._numbers: dict[str, list[int]] = {}
        self.end = 0

    def __contains__(self, token: str) -> bool:
        return token in self._words

    def __getitem__(self, token: str) -> bytes:
        """The word behind an option. KeyError unless the option was given."""
        return self._words[token][0]

    def get(self, token: str) -> bytes | None:
        """The word behind an option, or None if the option was not given."""
        words = self._words.get(token)
        return words[0] if words else None

    def words(self, token: str) -> list[bytes]:
        """All words behind an option, of each time that it was given; none if it was not given."""
        return self._words.get(token, [])

    def number(self, token: str, default: int) -> int:
        """The number behind an option whose words are converted, or the default if the option was not given."""
        numbers = self._numbers.get(token)
        return numbers[0] if numbers else default

    def numbers(self, token: str) -> list[int]:
        """All numbers behind an option whose words are converted; none if the option was not given."""
        return self._numbers.get(token, [])

    def chosen(self, group: str) -> str | None:
        """The word of the option that was given of a group that exclude each other; None if none was."""
        return self._chosen.get(group)


class OptionParser:
    """Reads the options of calls of one command.

    `arguments` are those of the notation, the first one at the word `start` of a call. `converters`, by the words of options,
    make numbers of the words behind these: ValueError for a converter of no option.
    """

    def __init__(self, arguments: Sequence[Argument], start: int, converters: Mapping[str, Callable[[bytes], int]]) -> None:
        self._converters = converters
        self._options: dict[bytes, _Option] = {}
        # Other arguments follow, so that a word that is no option ends the options.
        self._stops = False
        # The position of the first option; None: that depends on the call.
        self._start: int | None = start
        for place, argument in enumerate(arguments):
            if argument.is_option:
                self._add(argument, self._options, argument.rivals)
                self._stops = any(not other.is_option and other.least for other in arguments[place + 1 :])
            elif not self._options and self._start is not None:
                self._start = self._start + argument.least if argument.is_fixed else None
        unknown = converters.keys() - {option.token for option in self._options.values()}
        if unknown:
            raise ValueError(f"no options of the notation: {', '.join(sorted(unknown))}")

    def parse(self, request: Sequence[bytes], start: int | None = None, several: int | None = None) -> Options:
        """The options of a call. CommandError for a syntax error or a word that can't be converted, whichever comes first.

        `start` is the position of the first option. The caller must give it if the number of the arguments in front of the
        options depends on the call, else TypeError. `several` is the number of words behind an option that takes any number
        of them; by default all that are left.
        """
        options = Options()
        position = self._start if start is None else start
        if position is None:
            raise TypeError("where the options begin depends on the call, and was not said")
        end = len(request)
        table = self._options
        while position < end:
            word = request[position]
            option = table.get(word) or table.get(word.upper())
            if option is None:
                if self._stops:
                    break
                raise CommandError(SYNTAX_ERROR)
            position = self._take(options, option, request, position + 1, several)
        options.end = position
        return options

    def _take(self, options: Options, option: _Option, request: Sequence[bytes], position: int, several: int | None) -> int:
        """Take the option whose word stands before this position. Return the position of the next option."""
        token, width, group, is_once, is_repeated, choices, inner, convert = option
        given = options._words
        if group and options._chosen.setdefault(group, token) != token:
            raise CommandError(SYNTAX_ERROR)
        if is_once and token in given:
            raise CommandError(SYNTAX_ERROR)
        if width is None:
            width = len(request) - position if several is None else several
            if not width:
                raise CommandError(SYNTAX_ERROR)
        end = position + width
        if end > len(request):
            raise CommandError(SYNTAX_ERROR)
        words = list(request[position:end])
        if choices and words[0].upper() not in choices:
            raise CommandError(SYNTAX_ERROR)
        if convert is not None:
            numbers = [convert(word) for word in words]
            options._numbers[token] = options._numbers.get(token, []) + numbers if is_repeated else numbers
        given[token] = given.get(token, []) + words if is_repeated else words
        if inner is not None:
            following = inner.get(request[end].upper()) if end < len(request) else None
            if following is None:
                raise CommandError(SYNTAX_ERROR)
            return self._take(options, following, request, end + 1, several)
        return end

    def _add(self, argument: Argument, table: dict[bytes, _Option], group: str, is_once: bool = False) -> None:
        is_once = is_once or argument.is_once
        if argument.token is not None:
            self._add_token(argument, table, group, is_once)
        elif argument.type == "oneof":
            for alternative in argument.inner:
                self._add(alternative, table, argument.name, is_once)
        else:
            self._add_block(argument, table, group, is_once)

    def _add_block(self, argument: Argument, table: dict[bytes, _Option], group: str, is_once: bool) -> None:
        """Add a block, which its first argument begins; the others stand behind the words of that, or are options."""
        first, *others = argument.inner
        self._add(first, table, group, is_once)
        more = sum(other.least for other in others if not other.is_option)
        for token in first.first_tokens:
            option = table[token.upper().encode()]
            if more and option.width is not None:
                table[token.upper().encode()] = option._replace(width=option.width + more)
        for other in others:
            if other.is_option:
                self._add(other, table, "")

    def _add_token(self, argument: Argument, table: dict[bytes, _Option], group: str, is_once: bool) -> None:
        assert argument.token is not None
        width: int | None = argument.least_given - 1
        choices: frozenset[bytes] = frozenset()
        inner: dict[bytes, _Option] | None = None
        if argument.type == "oneof":
            if argument.is_word:
                choices = frozenset(token.upper().encode() for each in argument.inner for token in each.first_tokens)
            elif all(alternative.first_tokens for alternative in argument.inner):
                inner, width = {}, 0
                for alternative in argument.inner:
                    self._add(alternative, inner, argument.name)
        elif argument.type == "block":
            if any(each.is_multiple and not each.is_option for each in argument.inner):
                width = None
            for each in argument.inner:
                if each.is_option:
                    self._add(each, table, "")
        if argument.is_multiple and not argument.has_multiple_tokens:
            width = None
        token = argument.token.upper()
        table[token.encode()] = _Option(
            token, width, group, is_once, argument.has_multiple_tokens, choices, inner, self._converters.get(token)
        )


# --- The whole ---


class Notation:
    """A notation (`text`), and all that follows from it.

    `start` is the position in a call of the first word that the notation is about: 1, or 2 for a subcommand. `access` has
    Redis's words for what is done with the keys of each specification, with semicolons in between, and a `?` in front of the
    words of keys whose place nobody can tell. `converters` are those of `OptionParser`.
    """

    def __init__(
        self, text: str, access: str = "", *, start: int = 1, converters: Mapping[str, Callable[[bytes], int]] | None = None
    ) -> None:
        self.text = text
        self.access = access
        self.start = start
        self._converters = converters or {}

    @cached_property
    def arguments(self) -> tuple[Argument, ...]:
        """The arguments. ValueError for what is no notation."""
        return read(self.text)

    @cached_property
    def arity(self) -> int:
        """The number of words that a call has, the name counted; a negative one is the least number."""
        if not self.text:
            return self.start
        least = self.start + sum(argument.least for argument in self.arguments)
        return least if all(argument.is_fixed for argument in self.arguments) else -least

    @cached_property
    def key_specifications(self) -> tuple[KeySpecification, ...]:
        """The key specifications, in their order. ValueError unless `access` fits the notation."""
        if not self.access:
            return ()
        search = _KeySearch(self.arguments, self.start)
        found = []
        for number, access in enumerate(self.access.split(";")):
            flags = tuple(access.split())
            if flags[:1] == ("?",):
                found.append(KeySpecification(flags[1:], is_unknown=True))
            elif number in search.found:
                found.append(search.found[number]._replace(flags=flags))
            else:
                raise ValueError(f"{self.text!r} has no keys of specification {number}")
        if not search.found.keys() <= set(range(len(found))):
            raise ValueError(f"{self.text!r} has more keys than {self.access!r} tells of")
        return tuple(found)

    @cached_property
    def _specifications_in_range(self) -> tuple[KeySpecification, ...]:
        """The specifications that one range can stand for: a single one, or several that are one behind the other."""
        if len(self.key_specifications) == 1:
            return tuple(each for each in self.key_specifications if each.is_plain)
        found: list[KeySpecification] = []
        for each in self.key_specifications:
            if each.is_plain and each.step == 1 and (not found or found[-1].last_place == each.begin - 1):
                found.append(each)
        return tuple(found)

    @property
    def key_range(self) -> tuple[int, int, int]:
        """The positions of the first key and the last one, and the step, as in Redis before 7.0; zeros for no range."""
        found = self._specifications_in_range
        return (found[0].begin, found[-1].last_place, found[0].step) if found else (0, 0, 0)

    @property
    def has_movable_keys(self) -> bool:
        """True if the range does not tell where all keys are."""
        return len(self._specifications_in_range) < len(self.key_specifications)

    def describe(self) -> list[Reply]:
        """The `arguments` of COMMAND DOCS, a map each."""
        return [argument.describe() for argument in self.arguments]

    @cached_property
    def options(self) -> OptionParser:
        """The reader of the options. ValueError for a converter of no option."""
        return OptionParser(self.arguments, self.start, self._converters)
