"""A vault as a Medium."""

from __future__ import annotations

import hashlib
import threading

import pytest

from kvserver.errors import MediumError, Refused, Unknown
from kvserver.formats.frame import encode_frame, encode_header
from kvserver.formats.manifest import Manifest, Position
from kvserver.media.memory_engine import MemoryVault
from kvserver.media.shared import Tip
from kvserver.media.vault_medium import VaultMedium

PAYLOADS = [b'{"a":"1"}', b'{"b":"22"}', b"{}"]
FRAMES = [encode_frame(payload) for payload in PAYLOADS]


def header_of(payload: bytes) -> bytes:
    return encode_header(len(payload), hashlib.sha256(payload).hexdigest())


def add(medium: VaultMedium, payload: bytes) -> None:
    frame = medium.begin_frame()
    frame.write(payload[:3])
    frame.write(payload[3:])
    frame.commit(header_of(payload))


@pytest.fixture
def vault() -> MemoryVault:
    return MemoryVault()


@pytest.fixture
def medium(vault: MemoryVault) -> VaultMedium:
    medium = VaultMedium(vault)
    for payload in PAYLOADS:
        add(medium, payload)
    return medium


def test_frames_stand_one_behind_the_other(medium: VaultMedium) -> None:
    whole = b"".join(FRAMES)
    assert medium.size() == len(whole)
    assert medium.read_all() == whole
    for offset in range(len(whole) + 3):
        for length in (1, 79, 80, 81, 200, 1000):
            assert medium.read(offset, length) == whole[offset : offset + length], (offset, length)


def test_objects_are_plain_json(vault: MemoryVault, medium: VaultMedium) -> None:
    assert sorted(vault.objects.values()) == sorted(PAYLOADS)


def test_another_one_finds_what_is_there(vault: MemoryVault, medium: VaultMedium) -> None:
    other = VaultMedium(vault)
    assert other.size() == 0
    assert other.look() == medium.manifest
    assert other.read_all() == medium.read_all()


def test_frame_that_is_given_up_was_never_there(vault: MemoryVault, medium: VaultMedium) -> None:
    frame = medium.begin_frame()
    frame.write(b"{}")
    frame.abort()
    medium.append(FRAMES[0][:50])
    assert medium.read_all() == b"".join(FRAMES)
    assert len(vault.objects) == 3


def test_rewrite_keeps_frames_without_copies(vault: MemoryVault, medium: VaultMedium) -> None:
    rewrite = medium.begin_rewrite()
    start = len(FRAMES[0])
    assert list(rewrite.copy(start, len(FRAMES[1]))) == []
    rewrite.commit(None)
    assert medium.read_all() == FRAMES[1]
    assert list(vault.objects.values()) == [PAYLOADS[1]]
    rewrite = medium.begin_rewrite()
    list(rewrite.copy(0, len(FRAMES[1])))
    rewrite.write(PAYLOADS[2])
    rewrite.commit(header_of(PAYLOADS[2]))
    assert medium.read_all() == FRAMES[1] + FRAMES[2]


def test_truncated_frames_are_named_no_more_and_stay(vault: MemoryVault, medium: VaultMedium) -> None:
    names = [frame.name for frame in medium.frames]
    assert medium.set_aside(len(FRAMES[0])) == ", ".join(names[1:])
    assert medium.set_aside(0, len(FRAMES[0])) == names[0]
    medium.truncate(len(FRAMES[0]) + 5)
    assert medium.read_all() == FRAMES[0]
    assert len(vault.objects) == 3
    counter = medium.manifest.counter
    medium.truncate(len(FRAMES[0]))
    assert medium.manifest.counter == counter


def test_object_that_is_short_is_damage_and_moves_no_other_frame(vault: MemoryVault, medium: VaultMedium) -> None:
    vault.objects[medium.frames[0].name] = b"{"
    whole = medium.read_all()
    assert whole[len(FRAMES[0]) :] == FRAMES[1] + FRAMES[2]
    assert whole[80 : len(FRAMES[0])] == b"{".ljust(len(PAYLOADS[0]), b"\0")


def test_object_that_is_gone_is_an_error(vault: MemoryVault, medium: VaultMedium) -> None:
    vault.remove([medium.frames[0].name])
    with pytest.raises(MediumError):
        medium.read_all()


def test_whole_object_stays_when_its_frame_is_given_up(vault: MemoryVault, medium: VaultMedium) -> None:
    frame = medium.begin_frame()
    frame.write(b"{}")
    other = VaultMedium(vault)
    other.look()
    other.lead(2)
    with pytest.raises(Refused):
        frame.commit(header_of(b"{}"))
    frame.abort()
    assert len(vault.objects) == 4


def test_writer_of_an_older_epoch_is_refused(vault: MemoryVault, medium: VaultMedium) -> None:
    newer = VaultMedium(vault)
    newer.look()
    newer.lead(2, 3000)
    assert (newer.manifest.epoch, newer.manifest.lease_ms, newer.manifest.frames) == (2, 3000, medium.frames)
    with pytest.raises(Refused):
        add(medium, b"{}")
    with pytest.raises(Refused):
        medium.link("-", Tip())
    assert VaultMedium(vault).look() == newer.manifest


def test_link_tells_where_the_log_goes_on(medium: VaultMedium) -> None:
    medium.link(medium.frames[1].digest, Tip(Position(1, 9), 7, "ab"))
    found = medium.look()
    assert (found.linked, found.position, found.mark_number, found.mark_digest) == (
        medium.frames[1].digest,
        Position(1, 9),
        7,
        "ab",
    )


class FullVault(MemoryVault):
    """A vault that has room for objects, but for no manifest."""

    is_full = True

    def commit(self, manifest: Manifest, tag: str) -> str:
        if self.is_full:
            raise MediumError("no space left on device")
        return super().commit(manifest, tag)


def test_frame_whose_manifest_fails_leaves_nothing_behind_and_the_next_one_succeeds() -> None:
    vault = FullVault()
    medium = VaultMedium(vault, sleep=lambda _: None)
    frame = medium.begin_frame()
    frame.write(PAYLOADS[0])
    with pytest.raises(MediumError, match="no space left"):
        frame.commit(header_of(PAYLOADS[0]))
    frame.abort()
    assert vault.objects == {}
    assert medium.frames == ()
    vault.is_full = False
    add(medium, PAYLOADS[0])
    assert medium.read_all() == FRAMES[0]


class LostVault(MemoryVault):
    """A vault that takes objects, and goes away in the commit of a manifest."""

    def __init__(self) -> None:
        super().__init__()
        self.looked = threading.Event()

    def commit(self, manifest: Manifest, tag: str) -> str:
        raise Unknown("the connection broke")

    def manifest(self) -> tuple[Manifest | None, str]:
        self.looked.set()
        raise MediumError("the vault does not answer")


def test_wait_for_a_vault_that_is_away_ends_at_once_when_the_node_halts() -> None:
    vault = LostVault()
    medium = VaultMedium(vault)
    frame = medium.begin_frame()
    frame.write(PAYLOADS[0])
    raised: list[MediumError] = []

    def commit() -> None:
        try:
            frame.commit(header_of(PAYLOADS[0]))
        except MediumError as error:
            raised.append(error)

    thread = threading.Thread(target=commit, daemon=True)
    thread.start()
    assert vault.looked.wait(10)
    medium.halt()
    thread.join(10)
    assert not thread.is_alive()
    # A manifest may name it yet.
    frame.abort()
    assert list(vault.objects.values()) == [PAYLOADS[0]]
    assert [type(error) for error in raised] == [Unknown]


def test_nothing_is_written_behind_a_halt(vault: MemoryVault, medium: VaultMedium) -> None:
    before, objects = medium.manifest, dict(vault.objects)
    frame = medium.begin_frame()
    frame.write(b"{")
    medium.halt()
    with pytest.raises(MediumError, match="closed"):
        frame.write(b"}")
    with pytest.raises(MediumError, match="closed"):
        frame.commit(header_of(b"{}"))
    frame.abort()
    with pytest.raises(MediumError, match="closed"):
        medium.keep(medium.frames[1:])
    assert (medium.look(), vault.objects) == (before, objects)
