"""Options of a server as tests set and show them, and the values that redis-server shows of those that both have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from helpers.servers import Wire, encode, parse
from kvserver.errors import ConfigSetError
from kvserver.options.config import Config, load
from kvserver.options.table import BY_NAME

ROWS = BY_NAME
OUR_OWN = {"history", "http-port", "keep-frames", "log-format", "lua-memory-limit", "shutdown-mode", "uvloop"}
OUR_OWN |= {"announce-ip", "announce-port", "lease-milliseconds", "medium", "read-fence", "snapshots"}
# In Redis it is a line of a file, and no option.
OUR_OWN |= {"user"}
SHARED = sorted(ROWS.keys() - OUR_OWN)


def load_from(*arguments: str, environ: Mapping[str, str] | None = None, files: Mapping[str, str] | None = None) -> Config:
    def read_file(path: str) -> str:
        try:
            return (files or {})[path]
        except KeyError:
            raise FileNotFoundError(2, "No such file or directory", path) from None

    return load(arguments, environ or {}, read_file)


def load_toml(text: str) -> Config:
    return load_from("--config", "kvserver.toml", files={"kvserver.toml": text})


def shown(config: Config, name: str) -> bytes:
    return config.get_matching([name.encode()])[name.encode()]


def our_reply(config: Config, *pairs: bytes) -> bytes:
    try:
        config.set(list(zip(pairs[::2], pairs[1::2], strict=True)))
    except ConfigSetError as error:
        return f"-{error}\r\n".encode("utf-8", "surrogateescape")
    return b"+OK\r\n"


def oracle_get(oracle: Wire, *patterns: bytes) -> dict[bytes, bytes]:
    return shared_options(oracle.value("CONFIG", "GET", *patterns))


def shared_options(flat: list[bytes]) -> dict[bytes, bytes]:
    everything = dict(zip(flat[::2], flat[1::2], strict=True))
    return {name: value for name, value in everything.items() if name.lower().decode() in SHARED}


def oracle_set(oracle: Wire, pairs: Sequence[bytes], names: Sequence[bytes]) -> tuple[bytes, dict[bytes, bytes]]:
    """The reply to CONFIG SET, and what CONFIG GET shows of these names then.

    Sent at once with what sets the timeout back: a short one would end this connection where the machine is busy for so long.
    """
    oracle.send(encode("CONFIG", "SET", *pairs) + encode("CONFIG", "GET", *names) + encode("CONFIG", "SET", "timeout", 0))
    said, shown, _ = (oracle.read_reply() for _ in range(3))
    return said, shared_options(parse(shown))
