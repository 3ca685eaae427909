"""The URL of a medium in NATS: `nats://[user:password@|token@]host[:4222],host2/name?replicas=3`, or tls://. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from kvserver.errors import MediumError

SCHEMES: Final = ("nats", "tls")
PORT: Final = 4222
MOST_REPLICAS: Final = 5
PARAMETERS: Final = ("ca", "monitor", "replicas")

# A name is part of names of streams and buckets, which have no other characters.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:]+)(?::(\d{1,5}))?")


class Login(NamedTuple):
    """How to get in: with a user and a password, with a token, or with neither.

    - `is_tls`: the servers must speak TLS.
    - `ca` is the file of the authorities that their certificates may be of, in PEM; empty: those of the system.
    """

    user: str = ""
    password: str = ""
    token: str = ""
    is_tls: bool = False
    ca: str = ""


class NatsUrl(NamedTuple):
    """What such a URL says.

    - `hosts` are host:port each. `name` is that of the data.
    - `replicas` is the number of nodes that have to have each entry; 0: as many as there are of old, or as is usual.
    - `monitors` are the addresses, host:port each, at which the servers tell of their settings (`http:` in theirs).
    """

    hosts: tuple[str, ...]
    name: str
    login: Login
    replicas: int = 0
    monitors: tuple[str, ...] = ()

    @property
    def public(self) -> str:
        """The URL without what is secret."""
        return f"{SCHEMES[self.login.is_tls]}://{','.join(self.hosts)}/{self.name}"


def parse_nats_url(url: str) -> NatsUrl:
    """What the URL says. MediumError, in one line without anything secret, for one that says nothing."""
    scheme, slashes, rest = url.partition("://")
    # A password may have any character in it, if nobody has quoted it: what is before the last @ is never told.
    secret, _, public = rest.rpartition("@")
    before, _, query = public.partition("?")
    addresses, _, path = before.partition("/")
    if scheme not in SCHEMES:
        told = f"{scheme}://" if slashes else "this"
        raise MediumError(f"{told} is no URL of NATS: that is nats://host:4222/name, or tls://")
    name = unquote(path)
    if not _NAME.fullmatch(name):
        raise MediumError(
            f"{scheme}://{addresses}/{path}: the name has to be 1 to 64 letters, digits, _ or -, as in nats://host:4222/name"
        )
    hosts = tuple(_address(part, PORT, f"{scheme}://{addresses}/{path}") for part in addresses.split(","))
    user, has_password, password = secret.partition(":")
    login = Login(unquote(user), unquote(password)) if has_password else Login(token=unquote(user))
    found = NatsUrl(hosts, name, login._replace(is_tls=scheme == "tls"))
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key == "replicas" and value.isdecimal() and 1 <= int(value) <= MOST_REPLICAS:
            found = found._replace(replicas=int(value))
        elif key == "replicas":
            raise MediumError(f"{found.public}: replicas={value} is no number from 1 to {MOST_REPLICAS}")
        elif key == "monitor":
            monitors = tuple(_address(part, 8222, found.public) for part in value.split(","))
            found = found._replace(monitors=monitors)
        elif key == "ca" and scheme == "tls":
            found = found._replace(login=found.login._replace(ca=value))
        elif key == "ca":
            # Without TLS nobody would look at it.
            raise MediumError(f"{found.public}: ca= is for tls:// alone")
        else:
            raise MediumError(f"{found.public}: there is no parameter {key}, but {', '.join(PARAMETERS)}")
    return found


def _address(text: str, port: int, url: str) -> str:
    """host:port, with this port where there is none."""
    found = _HOST.fullmatch(text)
    if not found or not 0 < int(found[2] or port) < 65536:
        raise MediumError(f"{url}: {text!r} is no host, nor host:port")
    return f"{found[1]}:{found[2] or port}"
