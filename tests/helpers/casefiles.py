"""Case files: conversations with a server as a person types them, in a file for each family of commands.

A file begins with comments that say what the family is. Then come paragraphs; a line that begins with # is a comment anywhere.
A conversation is its name and, indented, the lines that are said:

    rename keeps the expiry
        SET k v PXAT 33000000000000
        RENAME k l; PEXPIRETIME l

All its lines arrive at once on a fresh connection. Words are those of redis-cli: "in double quotes with \\x00 and \\r\\n",
'in single ones', or bare; `;` stands between commands. Behind a closing quote, `*100` repeats the word; `<every byte>` is a
word of all 256 bytes in turn, and `0..9` is ten words.

    64 times: PING                              the line, so often
    for n in 0..9 "a b": SET k{n} v; GET k{n}   the line for each of these, whose text replaces {n}
    raw: "*1\\r\\n$x\\r\\n"                        these very bytes
    inline: GET "a b"                           this very text and a line end
    A: WATCH k; MULTI                           said by the client A; the next line is said when the server has taken this one
    A: <close>                                  A ends its connection from its side

A file has no expected replies, since redis-server gives them. But if there is nothing to compare with, a conversation begins
with `ours: ` and the reason, and each of its commands has its reply as redis-cli shows it (`show`): one for both protocols, or
that of RESP2, a | and that of RESP3. `…` at the end stands for anything:

    ours: Redis 7.0 has its JSON commands in a module
    JSON.GET k => "1"
    JSON.TYPE k => "integer" | ["integer"]

These lines stand at the left, and are for the whole file or for all that is below:

    options: --requirepass secret           both servers are started with these
    ours: Redis 7.0 has it in a module      no conversation below is compared
    then: OBJECT ENCODING k; TTL k          the end of each conversation below
    random: SETEX key seconds value         a row of which random commands are made (random_commands)
    random 3: GET key                       three times as often
    turn: WATCH key                         such a row, too, for clients that take turns
    similar: TTL = a few seconds apart      such replies to random commands need not be equal (random_commands.COMPARISONS)
    unsent: RESTORE = this is why           these very words are never sent as a random command

This module knows no socket and no server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import NoReturn

from helpers.random_commands import COMPARISONS, WORDS, Rows, Words
from helpers.servers import PROJECT, encode, split_replies

FOLDER = PROJECT / "tests" / "wire" / "cases"
_ESCAPES = {"n": 10, "r": 13, "t": 9, "b": 8, "a": 7, "\\": 92, '"': 34}
_SHOWN = {
    **{chr(code): f"\\x{code:02x}" for code in (*range(32), 127)},
    **{chr(code): f"\\{letter}" for letter, code in _ESCAPES.items()},
    # Python decodes bytes that are no UTF-8 as these.
    **{chr(0xDC00 + byte): f"\\x{byte:02x}" for byte in range(128, 256)},
}
_FOR = re.compile(r"for (\w+) in (.*?): (.*)")
_TIMES = re.compile(r"(\d+) times: (.*)")
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")
_STEP = re.compile(r"([A-Z]): (.*)")
_PIECE = re.compile(
    r'"(?P<double>(?:[^"\\]|\\.)*)"(?:\*(?P<double_times>\d+))?'
    r"|'(?P<single>(?:[^'\\]|\\.)*)'(?:\*(?P<single_times>\d+))?"
    r"|<every byte>(?:\*(?P<every_times>\d+))?"
    r"""|(?P<bare>[^\s;"'<]+|<)"""
)
_SETTING = re.compile(r"(options|ours|then|(?:random|turn)(?: \d+)?|similar|unsent): *(.*)")


class CaseFileError(Exception):
    """A case file isn't as the head of this module says. `str()` begins with the file's name and the line's number."""


@dataclass(frozen=True)
class Said:
    """The bytes that one client sends at once."""

    # A capital letter, or an empty text if there is only one client.
    client: str
    # No bytes mean that the client ends its connection.
    data: bytes
    # The commands in the bytes, but for raw and inline lines.
    requests: tuple[Words, ...]
    # The expected replies in RESP2 and in RESP3, as `show` shows them, or None if redis-server gives them.
    expected: tuple[str, str] | None = None


@dataclass(frozen=True)
class Conversation:
    family: str
    name: str
    line: int
    said: tuple[Said, ...]
    # The reason why there is nothing to compare with, or empty.
    ours_because: str = ""

    def __str__(self) -> str:
        return f"{self.family}: {self.name}"

    @property
    def is_of_one_client(self) -> bool:
        return all(said.client == "" for said in self.said)

    @property
    def payload(self) -> bytes:
        """All bytes of a conversation of one client."""
        return b"".join(said.data for said in self.said)

    @property
    def requests(self) -> list[Words]:
        return [request for said in self.said for request in said.requests]


@dataclass
class Family:
    """The contents of a case file."""

    name: str
    options: tuple[str, ...] = ()
    conversations: list[Conversation] = field(default_factory=list)
    # The rows of `random`, and those of `turn`, each row as often as it is to come.
    rows: list[str] = field(default_factory=list)
    turns: list[str] = field(default_factory=list)
    # The names of random_commands.COMPARISONS by the names of commands.
    similar: dict[bytes, str] = field(default_factory=dict)
    # The reasons why words are never sent, by the words in capitals.
    unsent: dict[Words, str] = field(default_factory=dict)


@cache
def families() -> dict[str, Family]:
    """Every case file, by name. Raises CaseFileError."""
    return {path.stem: parse_file(path.stem, path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.txt"))}


def conversations() -> list[Conversation]:
    """The conversations of all families."""
    return [each for family in families().values() for each in family.conversations]


def random_rows(*, turns: bool = False) -> Rows:
    """The rows of random commands of all families; with `turns`, only the rows for clients that take turns."""
    all_of = families().values()
    return Rows(
        [row for family in all_of for row in (family.turns if turns else family.rows)],
        {command: how for family in all_of for command, how in family.similar.items()},
        {words for family in all_of for words in family.unsent},
    )


def parse_file(name: str, text: str) -> Family:
    """A family from the text of its file. Raises CaseFileError."""
    return _Reader(name, text).family


def show(raw: bytes) -> str:
    """A raw reply in a line, much as redis-cli shows it: OK, (error) ERR …, (integer) 1, "text", (nil), [a, b], {a: b}."""
    kind, (head, _, rest) = raw[:1], raw[1:].partition(b"\r\n")
    simple = {b"+": "{}", b"-": "(error) {}", b":": "(integer) {}", b",": "(double) {}", b"(": "(big number) {}"}
    if kind in simple:
        return simple[kind].format(head.decode("utf-8", "backslashreplace"))
    if kind in b"_#":
        return {b"_": "(nil)", b"#t": "(true)", b"#f": "(false)"}[kind + head]
    if head == b"-1":
        return "(nil)" if kind == b"$" else "(nil array)"
    if kind == b"$":
        return _show_text(rest[:-2])
    if kind == b"=":
        return "(verbatim) " + _show_text(rest[4:-2])
    items = [show(item) for item in split_replies(rest)]
    if kind == b"%":
        return "{" + ", ".join(f"{one}: {other}" for one, other in zip(items[::2], items[1::2], strict=True)) + "}"
    return {b"*": "[{}]", b"~": "(set) [{}]", b">": "(push) [{}]"}[kind].format(", ".join(items))


def is_expected(raw: bytes, expected: str) -> bool:
    """True if a raw reply is the one that a case file expects."""
    shown = show(raw)
    return shown.startswith(expected[:-1]) if expected.endswith("…") else shown == expected


def _show_text(text: bytes) -> str:
    return '"' + "".join(_SHOWN.get(letter, letter) for letter in text.decode("utf-8", "surrogateescape")) + '"'


class _Reader:
    """The reader of a file. It goes through the lines, whose numbers its errors tell."""

    def __init__(self, name: str, text: str) -> None:
        self.family = Family(name)
        self._line = 0
        # The reason why there is nothing to compare all conversations below with, and their end.
        self._all_ours_because, self._then = "", ""
        # The conversation that is being read: its name, its line, the reason why there is nothing to compare it with.
        self._name, self._began, self._ours_because = "", 0, ""
        self._said: list[Said] = []
        if not text.startswith("# "):
            self._line = 1
            self._refuse("a file begins with a comment that says what its family is")
        for number, line in enumerate(text.splitlines(), 1):
            self._line = number
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            if line.startswith(" "):
                self._read_said(line.strip())
            else:
                self._end()
                self._read_left(line)
        self._end()

    def _refuse(self, reason: str) -> NoReturn:
        raise CaseFileError(f"{self.family.name}.txt:{self._line}: {reason}")

    def _read_left(self, line: str) -> None:
        if found := _SETTING.fullmatch(line):
            self._read_setting(*found.groups())
        elif ":" in line:
            self._refuse(f"a name has no colon, and there is no setting {line.partition(':')[0]!r}")
        else:
            if any(each.name == line for each in self.family.conversations):
                self._refuse(f"there are two conversations of the name {line!r}")
            self._name, self._began, self._ours_because = line, self._line, self._all_ours_because

    def _read_setting(self, kind: str, text: str) -> None:
        kind, _, count = kind.partition(" ")
        if kind == "options":
            self.family.options += tuple(text.split())
            return
        if kind == "ours":
            self._all_ours_because = text
            return
        if kind == "then":
            self._then = text
            return
        if kind in ("random", "turn"):
            for word in text.split()[1:]:
                if not _is_literal(word) and word.rstrip("?*+") not in WORDS:
                    self._refuse(f"no random word is called {word.rstrip('?*+')!r}")
            (self.family.rows if kind == "random" else self.family.turns).extend([text] * int(count or 1))
            return
        what, equals, how = text.partition(" = ")
        if not equals:
            self._refuse(f"{kind} says what, then =, then how or why")
        if kind == "unsent":
            self.family.unsent[tuple(what.encode().split())] = how
        elif how not in COMPARISONS:
            self._refuse(f"no comparison is called {how!r}")
        else:
            self.family.similar |= {command.encode(): how for command in what.split()}

    def _read_said(self, line: str) -> None:
        if not self._name:
            self._refuse("something is said in no conversation: its name stands at the left, above")
        if line.startswith("ours: "):
            if self._said:
                self._refuse("that it is ours alone stands at its beginning")
            self._ours_because = line.removeprefix("ours: ")
            return
        client = ""
        if step := _STEP.fullmatch(line):
            client, line = step.groups()
        if self._said and bool(client) != bool(self._said[0].client):
            self._refuse("either every line names its client, or none does")
        if client and line == "<close>":
            self._said.append(Said(client, b"", ()))
            return
        if line.startswith("inline: "):
            self._said.append(Said(client, line.removeprefix("inline: ").encode() + b"\r\n", ()))
            return
        data, requests, expected = self._spoken(line)
        if (expected is not None) != bool(self._ours_because):
            self._refuse("a reply stands where redis-server has none, by a line `ours: ` with the reason, and only there")
        if expected is not None and (client or len(requests) != 1):
            self._refuse("a line with a reply has one command, and its conversation has one client")
        self._said.append(Said(client, data, requests, expected))

    def _spoken(self, line: str) -> tuple[bytes, tuple[Words, ...], tuple[str, str] | None]:
        """The bytes of a line, the commands in them, and the expected replies."""
        if found := _TIMES.fullmatch(line):
            data, requests, _ = self._spoken(found[2])
            return data * int(found[1]), requests * int(found[1]), None
        if found := _FOR.fullmatch(line):
            name, items, body = found.groups()
            if f"{{{name}}}" not in body:
                self._refuse(f"{{{name}}} stands nowhere in the line")
            made = [self._spoken(body.replace(f"{{{name}}}", item.decode())) for item in self._commands(items)[0][0]]
            return b"".join(data for data, _, _ in made), tuple(each for _, requests, _ in made for each in requests), None
        if line.startswith("raw: "):
            return b"".join(self._commands(line.removeprefix("raw: "))[0][0]), (), None
        commands, expected = self._commands(line)
        return b"".join(encode(*words) for words in commands), tuple(commands), expected

    def _commands(self, line: str) -> tuple[list[Words], tuple[str, str] | None]:
        """The commands of a line, and the expected replies."""
        commands: list[Words] = []
        words: list[bytes] = []
        at = 0
        while at < len(line):
            if line[at].isspace():
                at += 1
            elif line[at] == ";":
                commands.append(tuple(words))
                words = []
                at += 1
            elif line.startswith("=> ", at) and line[at - 1].isspace():
                in_resp2, _, in_resp3 = line[at + 3 :].partition(" | ")
                return [*commands, tuple(words)], (in_resp2, in_resp3 or in_resp2)
            else:
                at = self._read_word(line, at, words)
        commands.append(tuple(words))
        if not all(commands):
            self._refuse("a command has no words")
        return commands, None

    def _read_word(self, line: str, at: int, words: list[bytes]) -> int:
        """Add the word, or the several words, at a place of a line. Returns the place behind."""
        start, made = at, b""
        while at < len(line) and not line[at].isspace() and line[at] != ";":
            piece = _PIECE.match(line, at)
            if piece is None:
                self._refuse(f"a quote that doesn't end: {line[at:]}")
            at = piece.end()
            if piece["double"] is not None:
                made += self._unescaped(piece["double"]) * int(piece["double_times"] or 1)
            elif piece["single"] is not None:
                made += piece["single"].replace("\\'", "'").encode() * int(piece["single_times"] or 1)
            elif piece["bare"] is not None:
                made += piece["bare"].encode()
            else:
                made += bytes(range(256)) * int(piece["every_times"] or 1)
        if several := _RANGE.fullmatch(line[start:at]):
            words += (b"%d" % number for number in range(int(several[1]), int(several[2]) + 1))
        else:
            words.append(made)
        return at

    def _unescaped(self, text: str) -> bytes:
        made, at = bytearray(), 0
        while at < len(text):
            if text[at] != "\\":
                made += text[at].encode()
                at += 1
            elif text[at + 1] == "x" and re.fullmatch("[0-9a-fA-F]{2}", text[at + 2 : at + 4]):
                made.append(int(text[at + 2 : at + 4], 16))
                at += 4
            elif text[at + 1] in _ESCAPES:
                made.append(_ESCAPES[text[at + 1]])
                at += 2
            else:
                self._refuse(f"no escape is {text[at : at + 4]!r}")
        return bytes(made)

    def _end(self) -> None:
        """Add the conversation that was being read to the family."""
        if self._name:
            if self._then:
                self._read_said(self._then)
            if not self._said:
                self._line = self._began
                self._refuse(f"nothing is said in {self._name!r}")
            self.family.conversations.append(
                Conversation(self.family.name, self._name, self._began, tuple(self._said), self._ours_because)
            )
        self._name, self._said = "", []


def _is_literal(word: str) -> bool:
    """True if a word of a row stands for itself."""
    return word.rstrip("?*+").isupper() or not word[0].isalpha()
