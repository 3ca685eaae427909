"""A codec that fails changes nothing, and its error names the key and keeps the cause."""

from __future__ import annotations

from typing import Any

import pytest

from kvserver.errors import CodecError
from kvserver.library.codec import decoded, encoded


class Failing:
    def encode(self, value: Any) -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    def decode(self, data: bytes) -> Any:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "data",
    [b"x", bytearray(b"x"), memoryview(b"x"), type("Derived", (bytes,), {})(b"x")],
    ids=("bytes", "bytearray", "memoryview", "derived"),
)
def test_bytes_of_every_kind_are_taken(data: Any) -> None:
    assert encoded(Failing(), "k", data) == b"x"
    assert type(encoded(Failing(), "k", data)) is bytes


def test_failure_names_the_key_and_keeps_the_cause() -> None:
    cause = RuntimeError("no such field")
    with pytest.raises(CodecError, match=r"can't encode the value of 'user:1': RuntimeError: no such field") as failed:
        encoded(Failing(), "user:1", cause)
    assert failed.value.__cause__ is cause
    with pytest.raises(CodecError, match=r"can't decode the value of 'user:1': ZeroDivisionError$"):
        decoded(Failing(), "user:1", b"")


@pytest.mark.parametrize("value", ["text", None, 1, [1]])
def test_what_is_no_bytes_is_refused(value: Any) -> None:
    with pytest.raises(CodecError, match=r"gives .* not bytes, for the value of 'k'"):
        encoded(Failing(), "k", value)


def test_interruption_is_no_failure_of_the_codec() -> None:
    class Interrupted:
        def encode(self, value: object) -> bytes:
            raise KeyboardInterrupt

        def decode(self, data: bytes) -> object: ...

    with pytest.raises(KeyboardInterrupt):
        encoded(Interrupted(), "k", 1)
