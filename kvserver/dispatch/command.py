"""`Command`: all that is known of one command, declared over the function that runs it.

    @command("getdel", "key:key", "write fast", access="RW access delete", since="6.2.0", group="string", complexity="O(1)",
             summary="Get the value of a key and delete the key")
    def getdel(session: Session, request: Request) -> Reply: ...

The name `getdel` means the command from then on: `getdel.handler` is the function, `getdel.options(request)` reads the options
of a call. A family is a module with commands in it (`gather`). Nothing is listed anywhere else: who treats some commands in
another way than others asks a command for it. Names no command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from itertools import repeat
from types import ModuleType
from typing import Concatenate, Final, NamedTuple, ParamSpec

from kvserver.dispatch.effect import Effect
from kvserver.dispatch.notation import Notation, Options
from kvserver.errors import CommandError, Refusal
from kvserver.resp.reply import Reply, Simple
from kvserver.resp.request import Request
from kvserver.state.description import ANY_NUMBER, CATEGORIES, FLAGS, Description, KeySpecification
from kvserver.state.session import Session

Handler = Callable[[Session, Request], Reply | Effect]

REDACTED: Final = b"(redacted)"
EXCERPT_BYTES: Final = 128

_CATEGORIES_OF_FLAG: Final = {
    "readonly": ("read",),
    "write": ("write",),
    "pubsub": ("pubsub",),
    "admin": ("admin", "dangerous"),
    "blocking": ("blocking",),
}
# Which categories the commands of a group have, unless they say otherwise.
_CATEGORY_OF_GROUP: Final = {
    "generic": "keyspace",
    "string": "string",
    "bitmap": "bitmap",
    "hash": "hash",
    "list": "list",
    "set": "set",
    "sorted-set": "sortedset",
    "stream": "stream",
    "geo": "geo",
    "hyperloglog": "hyperloglog",
    "scripting": "scripting",
    "connection": "connection",
    "transactions": "transaction",
    "json": "json",
}


class Many(NamedTuple):
    """What runs several calls of a command at once, all of so many words, where a client sent them in one go.

    `run` appends the replies to the output, as they are sent, of as many calls as it got through: how many is what it returns.
    The rest is run one by one; so it stops before a call that is anything but ordinary.
    """

    width: int
    run: Callable[[Session, list[Request], list[bytes]], int]


class Command(Description):
    """One command, or a subcommand: its name is `config|get` then.

    What it is: its handler, and how a call runs through it (`resolve`, `run`). What is told of it: arity, flags, keys, and
    the texts of Redis's COMMAND and COMMAND DOCS. How it is treated: the fields that begin with `is` or `may`, `secrets`,
    `check_queueable`.
    """

    def __init__(
        self,
        handler: Handler,
        name: str,
        notation: str = "",
        flags: str = "",
        *,
        access: str = "",
        since: str,
        group: str,
        complexity: str = "",
        summary: str,
        tips: str = "",
        key_notes: tuple[str, ...] = (),
        deprecated: tuple[str, str] | None = None,
        arity: int | None = None,
        categories: str | None = None,
        numbers: Mapping[str, Callable[[bytes], int]] | None = None,
        many: Many | None = None,
        is_alone: bool = False,
        is_bounded: bool | None = None,
        is_never_queued: bool = False,
        is_for_subscribers: bool = False,
        runs_queue: bool = False,
        may_replicate: bool = False,
        check_queueable: Callable[[Request], None] | None = None,
        secrets: Callable[[Request], Iterable[int]] | None = None,
        access_of: Callable[[Request], str] | None = None,
    ) -> None:
        """Flags, categories and tips are words with spaces in between.

        flags        with a meaning here: write (refused while the medium fails), readonly, denyoom (needs memory), admin (not
                     shown to monitors), loading (runs while data is loaded), no_auth, no_multi
        access       what is done with the keys of each key specification, with semicolons in between
        key_notes    what Redis says of each of them
        access_of    what one call does with its keys, where that depends on its words
        deprecated   since when, and what replaces it
        arity        where Redis takes another number of words than the notation says; -3: three or more, with the name
        categories   for ACL CAT, besides those that follow from the flags; by default those of the group
        numbers      the options whose words are converted as they are met: a wrong one is an error before all that follows
        many         what runs several calls at once, where a client sent them in one go
        is_alone     it is what the name of another command means without any argument
        is_bounded   it takes no time worth looking at, but for the number of its arguments; by default as flags and
                     complexity say
        is_never_queued      it runs at once in MULTI
        is_for_subscribers   it may run in the context of a RESP2 subscriber
        runs_queue           it runs what MULTI has queued, so it is refused where that would be
        may_replicate        it is no write, but what replicas would get: it waits with a pause of writes
        check_queueable      raises Refusal for a call that can't be part of a transaction
        secrets              where a call has words that nobody is shown
        """
        self.handler = handler
        self.name = name
        self.notation = Notation(notation, access, start=1 + name.count("|"), converters=numbers)
        self.flags = tuple(flags.split())
        self.since = since
        self.group = group
        self.complexity = complexity
        self.summary = summary
        self.tips = tips
        self.key_notes = key_notes
        self.deprecated = deprecated
        self.many = many
        self.is_alone = is_alone
        self.is_never_queued = is_never_queued
        self.is_for_subscribers = is_for_subscribers
        self.runs_queue = runs_queue
        self.may_replicate = may_replicate
        self.check_queueable = check_queueable
        self.secrets = secrets
        self._arity = arity
        self._categories = categories
        self._is_bounded = is_bounded
        self._access_of = access_of
        # What `gather` finds to be parts of this one: subcommands by their second word, and the form without arguments.
        self.subcommands: dict[bytes, Command] = {}
        self.alone: Command | None = None

    # --- What it is called with ---

    @cached_property
    def arity(self) -> int:
        """How many words a call has, the name counted; a negative one is the least number."""
        return self.notation.arity if self._arity is None else self._arity

    @cached_property
    def arities(self) -> range:
        """How many words a call may have, if it means this command itself."""
        return range(self.arity, self.arity + 1) if self.arity >= 0 else range(-self.arity, ANY_NUMBER)

    @property
    def arities_of_all(self) -> range:
        """How many words a call may have, whatever it means: the rest is for `resolve` to tell."""
        return self.arities if self.alone is None else range(1, ANY_NUMBER)

    def options(self, request: Request, start: int | None = None, several: int | None = None) -> Options:
        """The options of a call, as the notation has them. CommandError for a syntax error (`OptionParser.parse`)."""
        return self.notation.options.parse(request, start, several)

    @property
    def is_container(self) -> bool:
        """Calls mean something else than this command itself: a subcommand, or the form without arguments."""
        return bool(self.subcommands) or self.alone is not None

    @property
    def entrance(self) -> Handler:
        """What runs a call, whatever that means: the handler itself, if there is nothing to find out."""
        return self.run if self.is_container else self.handler

    def meant_by(self, request: Request) -> Command | None:
        """What the words of a call mean, however many they are: itself, a part of it, or (None) no subcommand."""
        if len(request) == 1:
            return self.alone or self
        return self.subcommands.get(request[1].lower()) if self.subcommands else self

    def resolve(self, request: Request) -> Command:
        """The command that the words of a call mean. Refusal if they mean none, or are too many or too few."""
        meant = self.meant_by(request)
        if meant is None:
            raise Refusal(f"ERR unknown subcommand '{excerpt(request[1])}'. Try {self.name.upper()} HELP.")
        if len(request) not in meant.arities:
            raise wrong_arity(meant.name, Refusal)
        return meant

    def run(self, session: Session, request: Request) -> Reply | Effect:
        """Run a call of this command, of a subcommand, or of the form without arguments."""
        meant = self.resolve(request)
        if meant.notation.start > 1:
            session.last_command = meant.name.encode()
        return meant.handler(session, request)

    # --- Keys ---

    @property
    def key_specifications(self) -> tuple[KeySpecification, ...]:
        return self.notation.key_specifications

    @cached_property
    def _written(self) -> tuple[KeySpecification, ...]:
        return tuple(each for each in self.key_specifications if each.writes)

    @property
    def keys(self) -> tuple[int, int, int]:
        """The position of the first key and the last one, and the step; zeros where there are none."""
        return self.notation.key_range

    def keys_of(self, request: Request) -> list[tuple[bytes, tuple[str, ...]]]:
        """The keys of a call, and what it does with each. CommandError where the words can't be a call."""
        specifications = [each for each in self.key_specifications if not each.is_no_key]
        if not specifications:
            raise CommandError("ERR The command has no key arguments")
        if len(request) not in self.arities:
            raise CommandError("ERR Invalid number of arguments specified for command")
        of_call = tuple(self._access_of(request).split()) if self._access_of else None
        return [(request[place], of_call or each.flags) for each in specifications for place in each.positions(request)]

    def written_keys(self, request: Request) -> list[bytes]:
        """The keys that a call writes."""
        return [request[place] for each in self._written for place in each.positions(request)]

    # --- What is told of it ---

    @property
    def all_flags(self) -> list[str]:
        """The flags in Redis's order, with those that follow from the keys."""
        movable = ["movablekeys"] if self.notation.has_movable_keys else []
        return sorted([*self.flags, *movable], key=FLAGS.index)

    @property
    def categories(self) -> list[str]:
        """The ACL categories, in Redis's order."""
        of_group = "" if self.subcommands else _CATEGORY_OF_GROUP.get(self.group, "")
        words = of_group if self._categories is None else self._categories
        found = {f"@{category}" for category in words.split()}
        found |= {f"@{category}" for flag in self.flags for category in _CATEGORIES_OF_FLAG.get(flag, ())}
        found.add("@fast" if "fast" in self.flags else "@slow")
        return [category for category in CATEGORIES if category in found]

    def describe_keys(self) -> list[Reply]:
        """The key specifications, as COMMAND tells them."""
        notes = (*self.key_notes, *repeat("", len(self.key_specifications) - len(self.key_notes)))
        return [each.describe(note) for each, note in zip(self.key_specifications, notes, strict=True)]

    def describe_arguments(self) -> list[Reply]:
        """The `arguments` of COMMAND DOCS."""
        return self.notation.describe()

    def redacted(self, request: Request) -> Request:
        """The words of a call as people are shown them: what is secret is replaced."""
        meant = self.meant_by(request)
        if meant is None or meant.secrets is None:
            return request
        secrets = set(meant.secrets(request))
        return [REDACTED if place in secrets else word for place, word in enumerate(request)]

    @property
    def is_bounded(self) -> bool:
        """It takes no time worth looking at, but for the number of its arguments."""
        if self._is_bounded is not None:
            return self._is_bounded
        return "fast" in self.flags and (self.complexity == "O(1)" or self.keys[1] < 0)


_Declared = ParamSpec("_Declared")


def _declaring(
    make: Callable[Concatenate[Handler, _Declared], Command],
) -> Callable[_Declared, Callable[[Handler], Command]]:
    def declare(*words: _Declared.args, **fields: _Declared.kwargs) -> Callable[[Handler], Command]:
        return lambda handler: make(handler, *words, **fields)

    return declare


# The decorator: takes what `Command` takes, and makes one of the function that it stands over.
command = _declaring(Command)


def _only_subcommands(session: Session, request: Request) -> Reply:
    raise AssertionError(f"{request[0]!r} has nothing to run but its subcommands")


def container(
    name: str,
    *,
    since: str,
    group: str,
    summary: str,
    complexity: str = "Depends on subcommand.",
    flags: str = "",
    arity: int = -2,
    categories: str | None = None,
    tips: str = "",
) -> Command:
    """A command that is nothing but its subcommands, which are declared as `name|subcommand`."""
    return Command(
        _only_subcommands, name, "", flags, since=since, group=group, summary=summary, complexity=complexity, arity=arity,
        categories=categories, tips=tips,
    )  # fmt: skip


def gather(modules: Iterable[ModuleType]) -> dict[bytes, Command]:
    """The commands that stand in modules, by name, in the order of their names; subcommands are in their containers.

    ValueError for two of one name, and for a subcommand of nothing.
    """
    found = {id(each): each for module in modules for each in vars(module).values() if isinstance(each, Command)}
    commands: dict[bytes, Command] = {}
    parts: list[Command] = []
    for each in sorted(found.values(), key=lambda each: each.name):
        name = each.name.encode()
        if each.is_alone or b"|" in name:
            parts.append(each)
        elif name in commands:
            raise ValueError(f"there are two commands {each.name!r}")
        else:
            commands[name] = each
    for part in parts:
        _add_part(commands, part)
    return commands


def _add_part(commands: Mapping[bytes, Command], part: Command) -> None:
    name, _, word = part.name.encode().partition(b"|")
    whole = commands.get(name)
    if whole is None:
        raise ValueError(f"{part.name!r} is a part of no command")
    if part.is_alone:
        present, whole.alone = whole.alone, part
    else:
        present = whole.subcommands.get(word)
        whole.subcommands[word] = part
    if present not in (None, part):
        raise ValueError(f"there are two commands {part.name!r}")


# --- What is said to words that call nothing ---


def wrong_arity(name: str, kind: type[CommandError] = CommandError) -> CommandError:
    """The error for a wrong number of arguments; `name` as Redis prints it: `get`, `client|id`."""
    return kind(f"ERR wrong number of arguments for '{name}' command")


def wrong_subcommand(request: Request) -> CommandError:
    """The error for a subcommand whose arguments no form of it takes."""
    name, word = (part.decode("utf-8", "surrogateescape") for part in (request[0].upper(), request[1]))
    return CommandError(f"ERR unknown subcommand or wrong number of arguments for '{word}'. Try {name} HELP.")


def unknown_command(request: Request) -> Refusal:
    """The error for a command that does not exist, with the excerpt of its arguments that Redis gives."""
    arguments = b""
    for argument in request[1:]:
        if len(arguments) >= EXCERPT_BYTES:
            break
        arguments += b"'%b' " % argument[: EXCERPT_BYTES - len(arguments)].partition(b"\0")[0]
    text = arguments.decode("utf-8", "surrogateescape")
    return Refusal(f"ERR unknown command '{excerpt(request[0])}', with args beginning with: {text}")


def help_lines(name: str, text: str) -> list[Reply]:
    """The reply to HELP of a container."""
    head, tail = f"{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", ("HELP", "    Prints this help.")
    return [Simple(line) for line in (head, *text.splitlines(), *tail)]


def excerpt(word: bytes) -> str:
    """A word as errors show it: its first bytes, up to a NUL."""
    return word[:EXCERPT_BYTES].partition(b"\0")[0].decode("utf-8", "surrogateescape")
