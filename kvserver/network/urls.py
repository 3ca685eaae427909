"""The addresses by which clients on this machine find a server: a URL for client libraries, a text for people. Pure."""

from __future__ import annotations

from kvserver.options.config import Config

# An address that stands for all of the machine, and one of the machine itself.
_OWN = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::*": "::1", "::": "::1"}


def url_of(config: Config) -> str:
    """The URL of a server that listens as this configuration says, such as redis://:password@127.0.0.1:6379/0.

    That of TCP, if the server has it; otherwise that of TLS (rediss://), otherwise that of its Unix socket (unix://). It is
    what `redis.Redis.from_url` takes.
    """
    from urllib.parse import quote

    password = f":{quote(config.requirepass, safe='')}@" if config.requirepass else ""
    if port := port_of(config):
        return f"redis{'' if config.port else 's'}://{password}{_host_of(config)}:{port}/0"
    return f"unix://{password}{quote(config.unixsocket)}?db=0"


def address_of(config: Config) -> str:
    """The address as text: 127.0.0.1:6379, [::1]:6379, or the path of a Unix socket."""
    port = port_of(config)
    return f"{_host_of(config)}:{port}" if port else config.unixsocket


def port_of(config: Config) -> int:
    """The port of TCP, or else that of TLS, or 0."""
    return (config.port or config.tls_port) if config.bind else 0


def _host_of(config: Config) -> str:
    host = config.bind[0].removeprefix("-")
    host = _OWN.get(host, host)
    return f"[{host}]" if ":" in host else host
