"""`Command`: all that is known of one command, declared over the function that runs it.

    @command("getdel", "key:key", "write fast", access="RW access delete", since="6.2.0", group="string", complexity="O(1)",
             summary="Get the value of a key and delete the key")
    def getdel(session: Session, request: Request) -> Reply: ...

The name `getdel` means the command from then on: `getdel.handler` is the function, `getdel.options(request)` reads the options
of a call. A family is a module with commands in it, and `gather` finds them there. Nothing is listed anywhere else: code that
treats some commands in another way than others asks the command. This module names no command, and never asks a session
whether a call may run: the gate does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache, cached_property
from itertools import repeat
from types import ModuleType
from typing import Concatenate, Final, NamedTuple, ParamSpec

from kvserver._speedups.packed import Call
from kvserver.acl.guarded import need_of
from kvserver.dispatch.effect import Effect
from kvserver.dispatch.events import Declaration, Events
from kvserver.dispatch.notation import Notation, Options
from kvserver.errors import CommandError, Refusal
from kvserver.resp.reply import Reply, Simple
from kvserver.resp.request import Request
from kvserver.state.description import (
    ANY_NUMBER,
    CATEGORIES,
    FLAGS,
    ChannelSpecification,
    Description,
    EventRule,
    KeySpecification,
)
from kvserver.state.session import Session

Handler = Callable[[Session, Request], Reply | Effect]

REDACTED: Final = b"(redacted)"
EXCERPT_BYTES: Final = 128
# With so many words, a call of a command with any number of keys or members may take long.
MANY_WORDS: Final = 100

_CATEGORIES_OF_FLAG: Final = {
    "readonly": ("read",),
    "write": ("write",),
    "pubsub": ("pubsub",),
    "admin": ("admin", "dangerous"),
    "blocking": ("blocking",),
}
# The categories of the commands of a group, unless a command says otherwise.
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
    """A way to run several calls of a command at once, where a client has sent them in one go.

    `width` is the number of words that each of the calls has, the name counted; 0 stands for any number, the same in all of
    them. `run` takes the session, the calls and the output; it appends the replies to the output, as they are sent, and
    returns the number of calls that it has run, from the first one on. It stops before a call that is anything but ordinary:
    the rest runs one by one.
    """

    width: int
    run: Callable[[Session, list[Request], list[bytes]], int]


class Command(Description):
    """A command, or a subcommand, whose name is `config|get` then.

    Three things are known of it: how a call runs (`handler`, `resolve`, `run`); what COMMAND and COMMAND DOCS tell of it
    (arity, flags, keys, texts); and what the gate and the others that meet a call treat in a special way (the fields that
    begin with `is`, `may` and `runs`, `check_queueable`, `secrets`).
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
        call: Call | None = None,
        is_alone: bool = False,
        bounded_below: int | None = None,
        is_never_queued: bool = False,
        is_for_subscribers: bool = False,
        runs_queue: bool = False,
        may_replicate: bool = False,
        needs_engine: bool = False,
        check_queueable: Callable[[Request], None] | None = None,
        secrets: Callable[[Request], Iterable[int]] | None = None,
        access_of: Callable[[Request], str] | None = None,
        channels: ChannelSpecification | None = None,
        more_keys: Callable[[Request], list[tuple[int, int]]] | None = None,
        key_places: Callable[[Request], range] | None = None,
        written: Callable[[Request], list[bytes]] | None = None,
        is_watched: Callable[[Request], bool] = lambda request: True,
        events: Declaration = None,
    ) -> None:
        """Declare a command. Flags, categories and tips are words with spaces in between.

        name         The lower-case name; a subcommand is named after its container, as in `config|get`.
        notation     The words of a call behind the name (`notation`).
        flags        Redis's flags. These have a meaning here: write (refused while the medium or the journal fails, and held
                     by a pause of writes), readonly, denyoom (needs memory), admin (not shown to monitors), loading (runs
                     while data is loaded), no_auth (runs before AUTH), no_multi, fast, skip_slowlog.
        access       What the command does with the keys of each key specification, with semicolons in between.
        access_of    Tells what one call does with its keys, where that depends on its words.
        channels     The channels that a call publishes or subscribes to.
        more_keys    Gives the positions of keys which the key specifications miss, each with the rights that it needs.
        key_places   Gives the positions of the keys of a call, where the key specifications can't tell them.
        written      Gives the keys that a call writes in the selected database, where that depends on its words.
        is_watched   Tells of a call whether it touches the watches of the keys that it writes, as most do.
        key_notes    Redis's remarks on the key specifications, in their order.
        deprecated   The version since when the command is deprecated, and what replaces it.
        arity        The number of words, where Redis takes another one than the notation says; -3: three or more.
        categories   The categories of ACL CAT besides those that follow from the flags; by default those of the group.
        numbers      The options whose words are converted as they are met, by their words in capitals. A wrong one is an
                     error before all that follows it.
        many         Runs several calls at once, where a client has sent them in one go.
        call         Runs a usual call on a string or a small collection, and such calls of several commands by turns.
        is_alone     The command is what the name of another command means without any argument.
        bounded_below        The number of words from which on a call may take a time worth measuring: 0 if any call may,
                     ANY_NUMBER if none. By default the flags, the complexity and the keys say so.
        is_never_queued      The command runs at once in MULTI.
        is_for_subscribers   The command may run while a RESP2 session has subscribed to something.
        runs_queue           The command runs what MULTI has queued, so it is refused where something of that would be.
        may_replicate        The command is no write, but replicas would get it: a pause of writes holds it, too.
        needs_engine         The command is there only on a server whose data is in an engine that others share.
        check_queueable      Raises Refusal for a call that can't be part of a transaction.
        secrets              Gives the positions of the words of a call that nobody is shown.
        events       The keyspace events of what a call writes (`events`); by default one with the command's name.
        """
        self.handler = handler
        self.name = name
        self.name_bytes = name.encode()
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
        self.call = call
        self.is_alone = is_alone
        self.is_never_queued = is_never_queued
        self.is_for_subscribers = is_for_subscribers
        self.runs_queue = runs_queue
        self.may_replicate = may_replicate
        self.needs_engine = needs_engine
        self.check_queueable = check_queueable
        self.secrets = secrets
        self._arity = arity
        self._categories = categories
        self._bounded_below = bounded_below
        self.is_for_all = "no_auth" in self.flags
        self.has_pattern_channels = channels is not None and channels.are_patterns
        self._channels = channels
        self._more_keys = more_keys
        self._access_of = access_of
        self._key_places = key_places
        self._written_of = written
        self._is_watched = is_watched
        self._declared_events = events
        # `gather` puts the parts of this command here: subcommands by their second word, and the form without arguments.
        self.subcommands: dict[bytes, Command] = {}
        self.alone: Command | None = None

    # --- What it is called with ---

    @cached_property
    def arity(self) -> int:
        """The number of words that a call has, the name counted; a negative one is the least number."""
        return self.notation.arity if self._arity is None else self._arity

    @cached_property
    def arities(self) -> range:
        """The numbers of words that a call may have, if it means this command itself."""
        return range(self.arity, self.arity + 1) if self.arity >= 0 else range(-self.arity, ANY_NUMBER)

    @property
    def arities_of_all(self) -> range:
        """The numbers of words that a call may have, whatever it means: `resolve` looks at the rest."""
        return self.arities if self.alone is None else range(1, ANY_NUMBER)

    def options(self, request: Request, start: int | None = None, several: int | None = None) -> Options:
        """The options of a call, as the notation has them; `OptionParser.parse` explains the arguments and the errors."""
        return self.notation.options.parse(request, start, several)

    @cached_property
    def flags_of_all(self) -> frozenset[str]:
        """The flags of this command and of its subcommands together."""
        return frozenset(self.flags).union(*(each.flags for each in self.subcommands.values()))

    @property
    def is_container(self) -> bool:
        """True if a call may mean something else than this command itself: a subcommand, or the form without arguments."""
        return bool(self.subcommands) or self.alone is not None

    @property
    def entrance(self) -> Handler:
        """The handler of all calls, whatever they mean: the declared one itself, if there is nothing to find out."""
        return self.run if self.is_container else self.handler

    def meant_by(self, request: Request) -> Command | None:
        """The command that the words of a call mean: this one, or a part of it; None for a subcommand that does not exist.

        The number of the words may be wrong: `resolve` counts them, too.
        """
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
        """Run a call of this command, of a subcommand, or of the form without arguments. Refusal as `resolve` raises it."""
        meant = self.resolve(request)
        if meant.notation.start > 1:
            session.last_command = meant.name.encode()
        return meant.handler(session, request)

    # --- Keys ---

    @property
    def key_specifications(self) -> tuple[KeySpecification, ...]:
        """The key specifications, in Redis's order."""
        return self.notation.key_specifications

    @cached_property
    def _written(self) -> tuple[KeySpecification, ...]:
        return tuple(each for each in self.key_specifications if each.writes)

    @property
    def keys(self) -> tuple[int, int, int]:
        """The positions of the first key and the last one, and the step; zeros where there are no keys."""
        return self.notation.key_range

    def keys_of(self, request: Request) -> list[tuple[bytes, tuple[str, ...]]]:
        """The keys of a call, each with Redis's words for its use. CommandError for what can't be a call."""
        specifications = [each for each in self.key_specifications if not each.is_no_key]
        if not specifications:
            raise CommandError("ERR The command has no key arguments")
        if len(request) not in self.arities:
            raise CommandError("ERR Invalid number of arguments specified for command")
        of_call = tuple(self._access_of(request).split()) if self._access_of else None
        if self._key_places:
            return [(request[place], specifications[0].flags) for place in self._key_places(request)]
        return [(request[place], of_call or each.flags) for each in specifications for place in each.positions(request)]

    @cached_property
    def _keys_of_calls(self) -> tuple[KeySpecification, ...]:
        return tuple(each for each in self.key_specifications if not each.is_no_key)

    @cached_property
    def _fixed_needs(self) -> list[tuple[int, int]] | None:
        """What `key_needs` gives of all calls, if the keys of all are at the same places, but for the use of these keys."""
        depends = (
            self._more_keys or self._key_places or any(not each.is_plain or each.last < 0 for each in self._keys_of_calls)
        )
        if depends:
            return None
        return [
            (place, each.need) for each in self._keys_of_calls for place in range(each.begin, each.last_place + 1, each.step)
        ]

    def key_needs(self, request: Request) -> list[tuple[int, int]]:
        if len(request) not in self.arities:
            return []
        of_call = _need_of_words(self._access_of(request)) if self._access_of else None
        if self._fixed_needs is not None:
            return self._fixed_needs if of_call is None else [(place, of_call) for place, _ in self._fixed_needs]
        try:
            if self._key_places:
                return [(place, self._keys_of_calls[0].need) for place in self._key_places(request)]
            needs = [
                (place, each.need if of_call is None else of_call)
                for each in self._keys_of_calls
                for place in each.positions(request)
            ]
        # The command itself tells what is wrong.
        except CommandError:
            return []
        return needs + self._more_keys(request) if self._more_keys else needs

    def channel_places(self, request: Request) -> range:
        if self._channels is None:
            return range(0)
        last = self._channels.last
        return range(1, (last if last >= 0 else len(request) + last) + 1)

    def written_keys(self, request: Request) -> list[bytes]:
        """The keys that a call writes in the selected database. CommandError where the words can't be a call."""
        if self.subcommands:
            meant = self.meant_by(request)
            return [] if meant is None or meant is self else meant.written_keys(request)
        if self._written_of:
            return self._written_of(request)
        if self._key_places:
            return [request[place] for place in self._key_places(request)]
        return [request[place] for each in self._written for place in each.positions(request)]

    def watched_keys(self, request: Request) -> list[bytes]:
        """Those of the keys that a call writes whose watches it touches."""
        meant = self.meant_by(request) if self.subcommands else self
        return self.written_keys(request) if meant is None or meant._is_watched(request) else []

    # --- Events ---

    @cached_property
    def _events(self) -> Events:
        return Events(self._declared_events, self.name, self.group)

    def event_rules(self, record_name: str, request: Request) -> tuple[EventRule, ...] | None:
        return self._events.of(record_name, request)

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
        # As in Redis, a read-only script is no read.
        if "@scripting" in found:
            found.discard("@read")
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
        """The words of a call as people are shown them: secret words are replaced by REDACTED."""
        meant = self.meant_by(request)
        if meant is None or meant.secrets is None:
            return request
        secrets = set(meant.secrets(request))
        return [REDACTED if place in secrets else word for place, word in enumerate(request)]

    @property
    def bounded_below(self) -> int:
        """The number of words from which on a call may take a time worth measuring: 0 if any call may, ANY_NUMBER if none."""
        if self._bounded_below is not None:
            return self._bounded_below
        if "fast" not in self.flags:
            return 0
        if self.keys[1] < 0:
            return MANY_WORDS
        if self.complexity == "O(1)":
            return ANY_NUMBER
        if self.complexity.startswith(("O(1)", "O(log(N))")):
            return ANY_NUMBER if self.arity >= 0 else MANY_WORDS
        return 0


@cache
def _need_of_words(words: str) -> int:
    return need_of(tuple(words.split()))


_Declared = ParamSpec("_Declared")


def _declaring(
    make: Callable[Concatenate[Handler, _Declared], Command],
) -> Callable[_Declared, Callable[[Handler], Command]]:
    def declare(*words: _Declared.args, **fields: _Declared.kwargs) -> Callable[[Handler], Command]:
        return lambda handler: make(handler, *words, **fields)

    return declare


# The decorator takes what `Command` takes but for the handler, which is the function that it stands over.
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
    needs_engine: bool = False,
) -> Command:
    """Declare a command that is nothing but its subcommands, which are declared as `name|subcommand`."""
    return Command(
        _only_subcommands, name, "", flags, since=since, group=group, summary=summary, complexity=complexity, arity=arity,
        categories=categories, tips=tips, needs_engine=needs_engine,
    )  # fmt: skip


def gather(modules: Iterable[ModuleType]) -> dict[bytes, Command]:
    """The commands that are declared in modules, by lower-case name, in the order of their names. Parts are in their wholes.

    ValueError for two commands of one name, and for a subcommand of nothing.
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


# --- The errors for words that call nothing ---


def wrong_arity(name: str, kind: type[CommandError] = CommandError) -> CommandError:
    """The error, of class `kind`, for a wrong number of arguments; `name` as Redis prints it: `get`, `client|id`."""
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
    """The reply to HELP of the container `name`; `text` has the lines about its subcommands."""
    head, tail = f"{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", ("HELP", "    Prints this help.")
    return [Simple(line) for line in (head, *text.splitlines(), *tail)]


def excerpt(word: bytes) -> str:
    """A word as errors show it: its first bytes, up to a NUL."""
    return word[:EXCERPT_BYTES].partition(b"\0")[0].decode("utf-8", "surrogateescape")
