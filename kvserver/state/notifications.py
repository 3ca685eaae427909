"""Keyspace notifications (`notify-keyspace-events`): events of keys, and the messages that tell subscribers of them. Pure.

What was recorded says which keys were written, and the command whose call it was says what the event is
(`Description.event_rules`). What no record tells is in the notes (`data.notes`). So neither a handler nor a door knows of
notifications, and nothing of this runs while nobody has asked for any. The engine delivers the messages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from kvserver.data.databases import Databases
from kvserver.data.notes import Notes, Place
from kvserver.resp.request import Request
from kvserver.state.channels import Channels, Message
from kvserver.state.description import Description, EventRule

Listener = TypeVar("Listener")

NEW: Final = EventRule("n", b"new")
KEY_MISS: Final = EventRule("m", b"keymiss")
EXPIRED: Final = EventRule("x", b"expired")
EVICTED: Final = EventRule("e", b"evicted")
EMPTIED: Final = EventRule("g", b"del")
# The classes of the collections, whose keys go with their last member.
COLLECTIONS: Final = "lshzt"


class Event(NamedTuple):
    """Something that has happened to a key: the class of the event, its name, and the number of the database and the key."""

    flag: str
    name: bytes
    place: Place


class Call(NamedTuple):
    """A call that runs, and the position of the records at its beginning."""

    command: Description
    request: Request
    position: int


class Notifications(Generic[Listener]):
    """The notifications of a server. `commands` are by lower-case name. `is_on`: there may be somebody to be told."""

    def __init__(self, databases: Databases, commands: Mapping[bytes, Description], channels: Channels[Listener]) -> None:
        self.is_on = False
        self._databases = databases
        self._records = databases.records
        self._commands = commands
        self._channels = channels
        self._classes = ""
        self._notes = Notes()
        # The position of the records up to which was told, and the call that has begun behind it.
        self._told = 0
        self._call: Call | None = None

    def configure(self, classes: str) -> None:
        """Tell of events of these classes (the letters of the option), by the channels that K and E stand for."""
        self._classes = classes
        self.is_on = ("K" in classes or "E" in classes) and bool(set(classes) - set("KE"))
        self._notes.close()
        self._databases.take_notes(self._notes if self.is_on else None)
        self._told, self._call = self._records.position, None

    def begin(self, command: Description, request: Request) -> None:
        """Take what happens from now on for the doing of this call. What happened before was nobody's."""
        self._call = Call(command, request, self._records.position)
        self._notes.open()

    def take(self) -> list[tuple[Listener, Message]]:
        """The messages about what has happened since the last time, and their receivers, in order. The call has ended."""
        messages: list[tuple[Listener, Message]] = []
        has_happened = self._notes.missed or self._told != self._records.position
        if has_happened and (self._channels.channels or self._channels.patterns):
            for event in self._events():
                if event.flag in self._classes:
                    messages += self._messages(event)
        self._told, self._call = self._records.position, None
        self._notes.close()
        return messages

    def _messages(self, event: Event) -> Iterator[tuple[Listener, Message]]:
        number, key = event.place
        if "K" in self._classes:
            yield from self._channels.deliveries(b"__keyspace@%d__:%b" % (number, key), event.name)
        if "E" in self._classes:
            yield from self._channels.deliveries(b"__keyevent@%d__:%b" % (number, event.name), key)

    def _events(self) -> Iterator[Event]:
        """All that has happened, in order."""
        missed = deque(self._notes.missed)
        # The events of the call that were told, each with its key.
        told: set[tuple[bytes, Place]] = set()
        records = self._records.since(self._told)
        # What a load has recorded is taken, and was not told.
        for at, (number, record) in enumerate(records, self._records.position - len(records)):
            while missed and missed[0][0] <= at:
                yield _event(KEY_MISS, missed.popleft()[1])
            call = self._call if self._call and at >= self._call.position else None
            yield from self._events_of(number, record, call, told)
        for _, place in missed:
            yield _event(KEY_MISS, place)

    def _is_missing(self, place: Place) -> bool:
        number, key = place
        return self._databases[number].peek(key) is None

    def _events_of(self, number: int, record: Request, call: Call | None, told: set[tuple[bytes, Place]]) -> Iterator[Event]:
        """The events that a record stands for, in the order in which Redis has them."""
        written = self._commands.get(record[0]) or self._commands.get(record[0].lower())
        if written is None:
            return
        places = [(number, key) for key in written.written_keys(record)]
        goes_by_itself = record[0].islower() and (call is None or record is not call.request)
        if call and not goes_by_itself:
            rules, words = _rules(call, written, record)
            if any(rule.key_place for rule in rules):
                found = [(rule, _named(rule, number, words)) for rule in rules]
            else:
                found = [(rule, place) for place in places for rule in rules]
            if written.group == "generic":
                # A value may take several records, but of a key such a record is told only where nothing else is.
                found = [(rule, place) for rule, place in found if all(place != other for _, other in told)]
            yield from self._events_of_call(found, told)
            # Redis tells that a key is new even where it tells nothing else.
            for place in places:
                yield from self._made(place)
            return
        rules = (written.event_rules(record[0].decode(), record) or ()) if goes_by_itself else (EVICTED,)
        for place in places:
            for rule in rules:
                yield from self._with_end(rule, place)

    def _events_of_call(self, found: list[tuple[EventRule, Place]], told: set[tuple[bytes, Place]]) -> Iterator[Event]:
        """The events that a call has led to, as far as they were not told yet."""
        untold = [(rule, place) for rule, place in found if (rule.name, place) not in told]
        told.update((rule.name, place) for rule, place in untold)
        for rule, place in untold:
            yield from self._made(place, is_told=rule.name == NEW.name)
            yield from self._with_end(rule, place)

    def _made(self, place: Place, *, is_told: bool = False) -> Iterator[Event]:
        """The events of a key that was made, the first time; `is_told`: a rule tells itself that it is new."""
        was_due = self._notes.made.pop(place, None)
        if was_due:
            yield _event(EXPIRED, place)
        if was_due is not None and not is_told:
            yield _event(NEW, place)

    def _with_end(self, rule: EventRule, place: Place) -> Iterator[Event]:
        yield _event(rule, place)
        if rule.flag in COLLECTIONS and self._is_missing(place):
            yield _event(EMPTIED, place)


def _event(rule: EventRule, place: Place) -> Event:
    return Event(rule.flag, rule.name, place)


def _named(rule: EventRule, number: int, words: Request) -> Place:
    """The database and the key that a rule names by their places in the words; `number` is the database of the call."""
    return int(words[rule.database_place]) if rule.database_place else number, words[rule.key_place]


def _rules(call: Call, written: Description, record: Request) -> tuple[tuple[EventRule, ...], Request]:
    """The rules for a record of a call, which is one of the command `written`; and the words that they are about."""
    rules = call.command.event_rules(record[0].upper().decode(), call.request)
    if rules is None and written.group == "generic":
        return written.event_rules("", record) or (), record
    if rules is None:
        rules = call.command.event_rules("", call.request)
    return rules or (), call.request
