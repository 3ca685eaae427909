"""redaction: what is secret in a command is not shown, and nothing else is hidden."""

from __future__ import annotations

import pytest

from kvserver.dispatch.redaction import REDACTED, redacted


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("AUTH secret", "AUTH (redacted)"),
        ("auth me secret", "auth (redacted) (redacted)"),
        ("AUTH", "AUTH"),
        ("HELLO 3 AUTH me secret SETNAME x", "HELLO 3 AUTH (redacted) (redacted) SETNAME x"),
        ("hello 3 setname x auth me secret", "hello 3 setname x auth (redacted) (redacted)"),
        ("HELLO 3 AUTH me", "HELLO 3 AUTH (redacted)"),
        ("Config Set timeout 5 RequirePass secret", "Config Set timeout 5 RequirePass (redacted)"),
        ("CONFIG SET masterauth secret", "CONFIG SET masterauth (redacted)"),
        ("CONFIG SET tls-key-file-pass secret", "CONFIG SET tls-key-file-pass (redacted)"),
        ("CONFIG SET requirepass", "CONFIG SET requirepass"),
        ("CONFIG GET requirepass x", "CONFIG GET requirepass x"),
        ("SET requirepass auth", "SET requirepass auth"),
        ("CONFIG", "CONFIG"),
    ],
)  # fmt: skip
def test_secrets_are_replaced(command: str, shown: str) -> None:
    args = command.encode().split()
    assert redacted(list(args)) == shown.encode().split()
    assert args == command.encode().split()
    assert REDACTED == b"(redacted)"
