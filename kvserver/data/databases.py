"""The databases of a server: a keyspace for each number, one order of records for all, and cuts of all at one instant.

A keyspace is made when its database is first asked for, since an empty one takes half a megabyte. Sessions hold the keyspace
of the database that they have selected, so that no command looks it up. Pure: callers pass the time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping

from kvserver.data.awaited import Awaited
from kvserver.data.freeze import Cut
from kvserver.data.keyspace import Keyspace, Witness
from kvserver.data.libraries import Libraries
from kvserver.data.notes import Notes
from kvserver.data.records import Records
from kvserver.data.shards import Shard, new_shards
from kvserver.data.steadyclock import SteadyClock


class Frozen:
    """All databases as they were at one instant: a cut of each that has keys. Database 0 is always among them.

    `libraries` has the texts of the function libraries of then by their names.
    """

    def __init__(self, keyspaces: Iterable[Keyspace], libraries: Mapping[bytes, bytes]) -> None:
        self.libraries = libraries
        self._keyspaces = [keyspace for keyspace in keyspaces if not keyspace.number or len(keyspace)]
        self.cuts: list[Cut] = [keyspace.cut() for keyspace in self._keyspaces]

    def __len__(self) -> int:
        return sum(map(len, self.cuts))

    @property
    def keys_encoded(self) -> int:
        """The number of keys that the snapshot has encoded so far."""
        return sum(cut.keys_encoded for cut in self.cuts)

    def fold(self) -> Iterator[None]:
        """End the cuts (`Keyspace.fold`). The caller runs the iterator to its end."""
        # Database 0 is thawed last: while any is frozen, nothing can be cut.
        for keyspace, cut in zip(reversed(self._keyspaces), reversed(self.cuts), strict=True):
            yield from keyspace.fold(cut)


class Databases:
    """The databases of a server or a library store, by number. `now_ms` returns Unix time in milliseconds.

    `clock` is what they expire by: whoever runs commands holds it meanwhile. `awaited` has the keys that somebody waits for.

    Data may be in a database that no client can select, since the option `databases` was greater when it was written: it is
    kept.
    """

    def __init__(
        self, now_ms: Callable[[], int], make: Callable[[Callable[[], int], Records, int], Keyspace] = Keyspace
    ) -> None:
        self.records = Records()
        self.libraries = Libraries(self.records)
        self.clock = SteadyClock(now_ms)
        self.awaited = Awaited()
        self._make = make
        self._witness_of: Callable[[Keyspace], Witness | None] = lambda keyspace: None
        self._notes: Notes | None = None
        self._tells_awaited = False
        self._is_paused = self._follows = False
        self._keyspaces = {0: make(self.clock.now_ms, self.records, 0)}
        # The number of the database that was swept last.
        self._swept = 0

    def __getitem__(self, number: int) -> Keyspace:
        """The keyspace of a database."""
        keyspace = self._keyspaces.get(number)
        # An empty keyspace is false.
        return self._add(number) if keyspace is None else keyspace

    def __iter__(self) -> Iterator[Keyspace]:
        """The keyspaces that there are, in the order of their numbers: those of all databases that were ever asked for."""
        return iter([self._keyspaces[number] for number in sorted(self._keyspaces)])

    def _add(self, number: int) -> Keyspace:
        keyspace = self._keyspaces[number] = self._make(self.clock.now_ms, self.records, number)
        first = self._keyspaces[0]
        keyspace.now_ms, keyspace.is_held, keyspace.keeps_due = first.now_ms, self.is_held, first.keeps_due
        keyspace.attend(self._witness_of(keyspace))
        keyspace.take_notes(self._notes)
        if self._tells_awaited:
            keyspace.await_keys(self.awaited)
        return keyspace

    @property
    def key_count(self) -> int:
        """The number of all keys."""
        return sum(map(len, self._keyspaces.values()))

    # The data as a whole

    def cut(self) -> Frozen:
        """Freeze the present state of all. RuntimeError while an earlier cut is not folded to its end."""
        return Frozen(self, self.libraries.copy())

    def replace(self, data: Mapping[int, list[Shard]]) -> list[Shard]:
        """Take over other data, by the numbers of the databases. Returns the shards that are not used any more.

        `drain` frees them in slices. The function libraries stay as they are.
        """
        unused: list[Shard] = []
        # Database 0 comes last, so that whoever observes knows the end.
        for number in sorted({*self._keyspaces, *data}, reverse=True):
            if not number or number in data or len(self[number]):
                unused += self[number].replace(data.get(number) or new_shards())
        return unused

    def give(self) -> dict[int, list[Shard]]:
        """Give all data away, by the numbers of the databases that have keys, and be empty. This records nothing."""
        return {keyspace.number: keyspace.replace(new_shards()) for keyspace in self if len(keyspace)}

    def clear(self) -> list[Shard]:
        """Remove all keys of all databases, and record that. Returns the shards that are not used any more."""
        record, _ = self.records.recorders(0)
        record([b"FLUSHALL"])
        return self.replace({})

    def swap(self, first: int, second: int) -> None:
        """Let two databases change places, and record that. Whoever holds one of the keyspaces asks for it anew."""
        if first == second:
            return
        record, _ = self.records.recorders(0)
        record([b"SWAPDB", b"%d" % first, b"%d" % second])
        one, other, observers = self[first], self[second], self.records.observers
        for observer in observers:
            observer.before_replacing(first)
            observer.before_replacing(second)
        self._keyspaces[first], self._keyspaces[second] = other, one
        one.renumber(second)
        other.renumber(first)
        self.awaited.touch_all(first)
        self.awaited.touch_all(second)
        for observer in observers:
            observer.after_replacing(first)
            observer.after_replacing(second)

    # Time

    def sweep(self) -> bool:
        """Remove some of what is due (`Keyspace.sweep`). False if there is nothing to do. The databases take turns."""
        numbers = sorted(self._keyspaces)
        turn = bisect_right(numbers, self._swept)
        for number in (*numbers[turn:], *numbers[:turn]):
            if self._keyspaces[number].sweep():
                self._swept = number
                return True
        return False

    def hurry(self) -> None:
        """Let the next `sweep` find whatever is due, however lately it has looked: the clock was moved."""
        for keyspace in self._keyspaces.values():
            keyspace.deadlines.hurry()

    def hold(self, is_held: bool) -> None:
        """Let no key go by itself during a pause, or let them go again."""
        self._is_paused = is_held
        self._hold()

    def follow(self) -> None:
        """Let no key go by itself from now on, since a log tells which ones go: this server is a standby.

        Commands find missing what is due. Whoever replays the log stops the clock meanwhile, and finds it as it is.
        """
        self._follows = True
        self._hold()

    def lead(self) -> None:
        """Let keys go by themselves again: this server is the one that says which ones go."""
        self._follows = False
        self._hold()

    def _hold(self) -> None:
        for keyspace in self._keyspaces.values():
            keyspace.is_held = self._is_paused or self._follows

    @property
    def is_held(self) -> bool:
        """True while no key goes by itself."""
        return self._keyspaces[0].is_held

    def stop_clock(self, at_ms: int = 0) -> None:
        """Let keys expire as if it were this time from now on. At 0 none is due, whatever expiry it is given."""
        for keyspace in self._keyspaces.values():
            keyspace.stop_clock(at_ms)

    def keep_due(self, at_ms: int) -> None:
        """Let it be this time from now on, and let keys that are due stay, until the clock is stopped or started."""
        for keyspace in self._keyspaces.values():
            keyspace.keep_due(at_ms)

    def start_clock(self) -> None:
        """Let keys expire by the clock again."""
        for keyspace in self._keyspaces.values():
            keyspace.start_clock()

    # Witnesses

    def attend(self, witness_of: Callable[[Keyspace], Witness | None]) -> None:
        """Let each keyspace, present or to come, have the witness that this function gives for it, or none."""
        self._witness_of = witness_of
        for keyspace in self._keyspaces.values():
            keyspace.attend(witness_of(keyspace))

    def await_keys(self) -> None:
        """Let each keyspace, present or to come, tell `awaited` of keys from now on (`Keyspace.await_keys`)."""
        if not self._tells_awaited:
            self._tells_awaited = True
            for keyspace in self._keyspaces.values():
                keyspace.await_keys(self.awaited)

    def take_notes(self, notes: Notes | None) -> None:
        """Let each keyspace, present or to come, take notes there (`Keyspace.take_notes`), or none."""
        self._notes = notes
        for keyspace in self._keyspaces.values():
            keyspace.take_notes(notes)
