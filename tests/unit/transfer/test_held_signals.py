"""A signal that is held back acts behind the block, once, and others are left alone."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from kvserver.transfer.held_signals import HeldSignals


@pytest.fixture
def heard() -> Iterator[list[int]]:
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGTERM, hear)
    yield heard
    signal.signal(signal.SIGTERM, before)


def test_signal_acts_behind_the_block_and_once(heard: list[int]) -> None:
    signals, handler = HeldSignals(), signal.getsignal(signal.SIGTERM)
    with signals.held():
        assert not signals.have_come
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert (signals.have_come, heard) == (True, [])
    assert heard == [signal.SIGTERM]
    assert not signals.have_come
    assert signal.getsignal(signal.SIGTERM) is handler


def test_interruption_is_raised_behind_the_block() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    passed: list[bool] = []

    def interrupt() -> None:
        with HeldSignals().held():
            os.kill(os.getpid(), signal.SIGINT)
            passed.append(True)

    try:
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    finally:
        signal.signal(signal.SIGINT, before)
    assert passed


def test_signals_without_a_handler_are_left_alone() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with HeldSignals().held():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_than_the_main_one_holds_none(heard: list[int]) -> None:
    passed: list[bool] = []

    def hold() -> None:
        with HeldSignals().held():
            passed.append(True)

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join(20)
    assert passed
