"""The RESP form of one request.

Owns the encoding of commands that the benchmarks send. Must never open a connection or know what a command means.
"""


def encode_request(*parts: bytes | str | int) -> bytes:
    """The request of a command's name and its arguments."""
    encoded = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in encoded)
