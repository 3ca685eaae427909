"""`kvserver check URL`: what an engine or a store of snapshots has, proven byte by byte. Nothing is written there."""

from __future__ import annotations

from collections.abc import Callable

from kvserver.cli.entries import Taken
from kvserver.cli.stored import NO_ENTRY, TRIES, Stored, open_stored, tip_of
from kvserver.errors import ChainBroken, MediumError, Trimmed
from kvserver.formats.control import Control, Lead, Relink, Yield
from kvserver.formats.manifest import BEGINNING, Manifest, StoredFrame
from kvserver.formats.record import EMPTY_STORE
from kvserver.formats.scan import scan
from kvserver.media.frame_bytes import FrameBytes
from kvserver.persistence.workplace import Here, drive, finish
from kvserver.system import Progress
from kvserver.types import TAGGED

Print = Callable[[str], None]


def check_url(url: str, snapshots: str, print_line: Print) -> bool:
    """Print what is at a URL, and what a start would load. True if all is well.

    `snapshots` is the URL of the snapshots, if they are elsewhere, or empty. MediumError if nothing is there, or it can't be
    read.
    """
    stored = open_stored(url, snapshots)
    try:
        return check_stored(stored, print_line)
    finally:
        stored.close()


def check_stored(stored: Stored, print_line: Print) -> bool:
    """Print what is stored, and what a start would load. Returns and raises as `check_url`.

    Where something is wrong, and there is another manifest by now, all is looked at again: a writer that goes on has removed
    what the one before named.
    """
    for _ in range(TRIES):
        found = stored.vault.manifest()
        lines: list[str] = []
        error: MediumError | None = None
        try:
            is_well = _check(stored, found[0], lines.append)
        except MediumError as raised:
            is_well, error = False, raised
        if is_well or stored.vault.manifest() == found:
            for line in lines:
                print_line(line)
            if error:
                raise error
            return is_well
    raise MediumError(f"{stored.url} goes on faster than it can be checked: check it again")


def _check(stored: Stored, manifest: Manifest | None, print_line: Print) -> bool:
    if manifest:
        print_line(f"{stored.url}: manifest {manifest.counter}, {_whose(manifest)}, {len(manifest.frames)} snapshots")
    else:
        print_line(f"{stored.url}: no manifest")
    manifest = manifest or Manifest()
    is_well = True
    total = sum(frame.frame_length for frame in manifest.frames)
    with Progress(f"checking {stored.url}", lambda: total) as progress:
        done = 0
        for number, frame in enumerate(manifest.frames, 1):
            is_well = _check_frame(stored, number, frame, lambda read: progress.update(done + read), print_line) and is_well  # noqa: B023
            done += frame.frame_length
    if not stored.has_log(manifest):
        if not manifest.frames:
            raise MediumError(f"there are no snapshots at {stored.url}")
        print_line(f"`kvserver restore` would bring {_name(manifest, manifest.linked)}")
        return is_well
    return _check_log(stored, manifest, print_line) and is_well


def _whose(manifest: Manifest) -> str:
    return f"the backups of the server {manifest.owner}" if manifest.owner else f"epoch {manifest.epoch}"


def _name(manifest: Manifest, digest: str) -> str:
    """A snapshot in words, with its number where the manifest has it."""
    if digest == EMPTY_STORE:
        return "the empty store"
    numbers = [number for number, frame in enumerate(manifest.frames, 1) if frame.digest == digest]
    return f"the snapshot {numbers[-1]}" if numbers else f"the snapshot {digest[:16]}…"


def _check_frame(stored: Stored, number: int, frame: StoredFrame, report: Callable[[int], None], print_line: Print) -> bool:
    place = f"snapshot {number}: {frame.name}, payload {frame.length}"
    contents = FrameBytes(stored.vault, frame)
    try:
        reason = contents.wrong_length()
        if not reason:
            result = finish(drive(scan(frame.frame_length, TAGGED, load=False), contents, Here(), report))
            reason = result.reason
    except MediumError as error:
        reason = str(error)
    if reason:
        print_line(f"DAMAGED: {place}: {reason}")
        return False
    (found,) = result.frames
    print_line(f"{place}, checksum ok ({frame.digest[:16]}…), {found.member_count} keys")
    return True


def _check_log(stored: Stored, manifest: Manifest, print_line: Print) -> bool:
    assert stored.log
    tip = tip_of(manifest)
    print_line(f"the log goes on from {_name(manifest, manifest.linked)}, behind the entry {tip.number}")
    # The snapshot that the data comes from in the end, and the commands that do not count since it replaced what they did.
    base, replaced = manifest.linked, 0

    def tell(control: Control, number: int) -> None:
        nonlocal base, replaced
        match control:
            case Lead(epoch, node, host, port, lease_ms):
                place = f"{host}:{port}"
                print_line(
                    f"entry {number}: the node {node} at {place} leads, in the epoch {epoch}, its lease is {lease_ms} ms"
                )
            case Yield(epoch):
                print_line(f"entry {number}: who led in the epoch {epoch} writes no more")
            case Relink(digest):
                base, replaced = digest, entries.commands
                print_line(f"entry {number}: the data is that of {_name(manifest, digest)} from here on")

    entries = Taken(tip, tell=tell)
    reason = _read_log(stored, entries)
    if not (manifest.frames or entries.count or reason) and tip.position == BEGINNING:
        raise MediumError(f"there is nothing at {stored.url}")
    print_line(
        f"{entries.count} entries, {entries.beats} of them empty; {entries.records} valid frames, {entries.commands} "
        f"commands, {entries.record_bytes} bytes"
    )
    if not entries.count and not reason and tip.position != BEGINNING:
        print_line(NO_ENTRY)
    if reason:
        print_line(f"DAMAGED: the log behind the entry {entries.tip.number}: {reason}")
    elif entries.rest_bytes:
        print_line(f"torn: {entries.rest_bytes} bytes of a record that is not whole, behind the entry {entries.tip.number}")
    if base not in {EMPTY_STORE, *(frame.digest for frame in manifest.frames)}:
        reason = f"the log goes on from {_name(manifest, base)}, which is not there"
        print_line(f"DAMAGED: {reason}")
    print_line(f"a start would load {_name(manifest, base)} and run {entries.commands - replaced} commands")
    return not (reason or entries.rest_bytes)


def _read_log(stored: Stored, entries: Taken) -> str:
    """Read the log to its end. Return what is wrong where that is, or nothing."""
    assert stored.log
    try:
        while found := stored.log.read(entries.tip.position, 0):
            entries.follow(found)
    except ChainBroken as broken:
        return str(broken)
    except Trimmed as trimmed:
        return str(trimmed)
    return ""
