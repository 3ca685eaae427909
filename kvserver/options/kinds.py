"""The kinds of values that options have: how a text is parsed to a value, and how a value is shown.

Values and error texts are those of redis-server 7.0.15. Texts that it takes by accident (`mb` for 0 bytes, `5 ` for a save
point of 0 changes) are refused. This module knows no option.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from kvserver.options.retention import parse_retention
from kvserver.options.words import join_words, split_arguments

INT_MAX, UINT_MAX, LONG_MAX, ULLONG_MAX = 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1
MEMORY_UNITS = {"": 1, "b": 1, "k": 10**3, "kb": 2**10, "m": 10**6, "mb": 2**20, "g": 10**9, "gb": 2**30}
MIB = MEMORY_UNITS["mb"]
# The value of `auto` until the server listens and the port is known.
AUTO_PORT = -1
# A primary has to append several times within its lease, and one round trip to the engine takes its time.
LEAST_LEASE_MS = 100
MAX_PORT = 65535
# Redis's CONFIG_BINDADDR_MAX.
MAX_BIND_ADDRESSES = 16
# That of a name in DNS. A control frame of the log (`formats.control`) has room for it.
MAX_HOST_LENGTH = 253
# Redis still says slave in what it shows. There are no replicas here, but configurations that name them are taken.
OUTPUT_CLASSES = {"normal": "normal", "slave": "slave", "replica": "slave", "pubsub": "pubsub"}
# Redis takes older versions, too, which RFC 8996 forbids.
TLS_PROTOCOLS = ("TLSv1.2", "TLSv1.3")

# The classes of keyspace events that `A` stands for, and all in the order in which they are shown: n is that of keys that are
# made, m that of keys that are missed. K and E are the two kinds of channels.
ALL_EVENTS = "g$lshzxetd"
EVENT_CLASSES = ALL_EVENTS + "nKEm"


class Kind(NamedTuple):
    """A kind of value.

    - `placeholder` stands for the value in --help.
    - `parse` makes a value of a text. It raises ValueError with the reason in Redis's words.
    - `show` makes the text of CONFIG GET of a value: a text that is parsed to the same value.
    - `toml_type` is the type that the value may have in a TOML file if it is no string.
    - `join` makes the value that is kept of the present value and a new one.
    - `choices` are all the values, or the words that a value is made of, if they are few; empty otherwise.
    - `put_together` makes the text of several words, as of a line of Redis's file.
    - `separator` stands between several settings of one source, all of which count; empty: the last one counts.
    - `is_secret`: nobody is shown a value, nor the text of one that is wrong.
    - `refusal` is the reason why `parse` refuses values that would be right in Redis, or empty.
    """

    placeholder: str
    parse: Callable[[str], Any]
    show: Callable[[Any], str] = str
    toml_type: type = str
    join: Callable[[Any, Any], Any] = lambda present, given: given
    choices: tuple[str, ...] = ()
    put_together: Callable[[Iterable[str]], str] = " ".join
    separator: str = ""
    is_secret: bool = False
    refusal: str = ""


def integer(minimum: int, maximum: int) -> Kind:
    """A decimal number of 64 bits in a range, both ends included."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"0|-?[1-9][0-9]{0,18}", text) or not -LONG_MAX - 1 <= int(text) <= LONG_MAX:
            raise ValueError("argument couldn't be parsed into an integer")
        return _in_range(int(text), minimum, maximum)

    return Kind("NUMBER", parse, toml_type=int)


def memory_size(minimum: int, maximum: int) -> Kind:
    """A number of bytes in a range, with Redis's units: 1k is 1000 and 1kb is 1024."""

    def parse(text: str) -> int:
        # Redis reads no more digits than these.
        match = re.fullmatch(r"([0-9]{1,127})([a-z]*)", text.lower())
        if match is None or match[2] not in MEMORY_UNITS:
            raise ValueError("argument must be a memory value")
        return _in_range(int(match[1]) * MEMORY_UNITS[match[2]], minimum, maximum)

    return Kind("BYTES", parse, toml_type=int)


def one_of(*names: str) -> Kind:
    """One of these lower-case words, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in names:
            raise ValueError(f"argument(s) must be one of the following: {', '.join(names)}")
        return text.lower()

    return Kind("|".join(names), parse, toml_type=bool if "no" in names else str, choices=names)


def _in_range(number: int, minimum: int, maximum: int) -> int:
    if not minimum <= number <= maximum:
        raise ValueError(f"argument must be between {minimum} and {maximum} inclusive")
    return number


def _parse_yes_no(text: str) -> bool:
    if text.lower() not in ("yes", "no"):
        raise ValueError("argument must be 'yes' or 'no'")
    return text.lower() == "yes"


def _parse_port(text: str) -> int:
    return AUTO_PORT if text.lower() == "auto" else int(integer(0, MAX_PORT).parse(text))


def _show_port(port: int) -> str:
    return "auto" if port == AUTO_PORT else str(port)


def _parse_permission(text: str) -> int:
    if not re.fullmatch(r"[0-7]{1,20}", text):
        raise ValueError("argument couldn't be parsed as an octal number")
    if int(text, 8) > 0o777:
        raise ValueError("argument must be between 0 and 777 inclusive")
    return int(text, 8)


def _parse_path(text: str) -> str:
    if "\0" in text:
        raise ValueError("argument must not hold a NUL byte")
    return text


def _parse_url(text: str) -> str:
    if text and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:.", text):
        raise ValueError("argument must be a URL, such as nats://host:4222/name or s3://bucket/prefix")
    return _parse_path(text)


def _parse_lease(text: str) -> int:
    milliseconds: int = integer(0, INT_MAX).parse(text)
    if 0 < milliseconds < LEAST_LEASE_MS:
        raise ValueError(f"argument must be 0, or between {LEAST_LEASE_MS} and {INT_MAX} inclusive")
    return milliseconds


def _parse_host(text: str) -> str:
    # Bytes that are no UTF-8 come as surrogates, and nobody else could be told of them.
    if re.search(r"[\s\ud800-\udfff]", text) or len(text) > MAX_HOST_LENGTH:
        raise ValueError("argument must be an address or a host name")
    return _parse_path(text)


def _parse_source(text: str) -> str:
    words = text.split()
    if not words or [word.lower() for word in words] == ["no", "one"]:
        return ""
    if len(words) != 2:
        raise ValueError("wrong number of arguments")
    # As REPLICAOF, it takes 0, to which nobody can connect.
    if not re.fullmatch(r"[0-9]{1,5}", words[1]) or int(words[1]) > MAX_PORT:
        raise ValueError("Invalid master port")
    return _parse_path(f"{words[0]} {int(words[1])}")


def _parse_directory(text: str) -> str:
    if not text:
        raise ValueError("argument must not be empty")
    return _parse_path(text)


def _parse_file_name(text: str) -> str:
    if text in (".", "..") or "/" in text or "\\" in text:
        raise ValueError("dbfilename can't be a path, just a filename")
    return _parse_directory(text)


def _parse_save_points(text: str) -> tuple[tuple[int, int], ...]:
    words = text.split(" ") if text else []
    numbers = [int(word) for word in words if re.fullmatch(r"[0-9]{1,18}", word)]
    points = tuple(zip(numbers[::2], numbers[1::2], strict=False))
    if 2 * len(points) != len(words) or any(seconds < 1 for seconds, _ in points):
        raise ValueError("Invalid save parameters")
    return points


def _show_save_points(points: tuple[tuple[int, int], ...]) -> str:
    return " ".join(f"{seconds} {changes}" for seconds, changes in points)


def _parse_addresses(text: str) -> tuple[str, ...]:
    addresses = tuple(text.split())
    if len(addresses) > MAX_BIND_ADDRESSES:
        raise ValueError("Too many bind addresses specified.")
    if "-" in addresses or "\0" in text:
        raise ValueError("argument must be addresses or host names")
    return addresses


def _parse_output_limits(text: str) -> dict[str, tuple[int, int, int]]:
    words = text.split(" ") if text else []
    if len(words) % 4:
        raise ValueError("Wrong number of arguments in buffer limit configuration.")
    limits = {}
    for kind, *numbers in zip(words[::4], words[1::4], words[2::4], words[3::4], strict=True):
        name = OUTPUT_CLASSES.get(kind.lower())
        if name is None:
            raise ValueError("Invalid client class specified in buffer limit configuration.")
        try:
            hard, soft = map(memory_size(0, LONG_MAX).parse, numbers[:2])
            seconds = integer(0, INT_MAX).parse(numbers[2])
        except ValueError:
            raise ValueError("Error in hard, soft or soft_seconds setting in buffer limit configuration.") from None
        limits[name] = (hard, soft, seconds)
    return limits


def _show_output_limits(limits: dict[str, tuple[int, int, int]]) -> str:
    return " ".join(f"{name} {hard} {soft} {seconds}" for name, (hard, soft, seconds) in limits.items())


def _parse_tls_protocols(text: str) -> tuple[str, ...]:
    names = {name.lower(): name for name in TLS_PROTOCOLS}
    if unknown := [word for word in text.lower().split() if word not in names]:
        raise ValueError(f"argument(s) must be one of the following: {', '.join(TLS_PROTOCOLS)} (not {unknown[0]})")
    return tuple(dict.fromkeys(names[word] for word in text.lower().split()))


def _parse_percentiles(text: str) -> tuple[float, ...]:
    words = text.split(" ") if text else []
    if not all(re.fullmatch(r"-?([0-9]{1,9}\.?[0-9]{0,15}|\.[0-9]{1,15})(e[0-9])?", word) for word in words):
        raise ValueError("Invalid latency-tracking-info-percentiles parameters")
    if not all(0 <= float(word) <= 100 for word in words):
        raise ValueError("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]")
    return tuple(float(word) for word in words)


def _show_percentiles(percentiles: tuple[float, ...]) -> str:
    return " ".join(f"{percentile:.6f}".rstrip("0").rstrip(".") for percentile in percentiles)


def _parse_event_classes(text: str) -> str:
    if not set(text) <= {"A", *EVENT_CLASSES}:
        raise ValueError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
    given = set(text.replace("A", ALL_EVENTS))
    return "".join(letter for letter in EVENT_CLASSES if letter in given)


def _show_event_classes(classes: str) -> str:
    # As in Redis, the n is not shown beside an A.
    return "A" + classes.strip(ALL_EVENTS + "n") if set(ALL_EVENTS) <= set(classes) else classes


def _parse_users(text: str) -> tuple[tuple[bytes, ...], ...]:
    users = []
    for line in filter(None, map(str.strip, text.split("\n"))):
        words = split_arguments(encode(line))
        if not words:
            raise ValueError("argument must be a name and rules, with balanced quotes")
        users.append(tuple(words))
    return tuple(users)


def _show_users(users: tuple[tuple[bytes, ...], ...]) -> str:
    return "\n".join(join_words(map(decode, words)) for words in users)


def encode(text: str) -> bytes:
    """The bytes of a value or a name on the wire."""
    return text.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    """The text of a value or a name from the wire, which need not be UTF-8."""
    return data.decode("utf-8", "surrogateescape")


YES_NO = Kind("yes|no", _parse_yes_no, lambda value: "yes" if value else "no", toml_type=bool, choices=("yes", "no"))
PORT = Kind("NUMBER|auto", _parse_port, _show_port, toml_type=int)
# TOML has no integer for this: it reads 0o700 and 448 as the same number, so that only a string can say which one is meant.
PERMISSION = Kind("OCTAL", _parse_permission, "{:o}".format)
PATH = Kind("PATH", _parse_path)
URL = Kind("URL", _parse_url)
LEASE = Kind("MILLISECONDS", _parse_lease, toml_type=int)
HOST = Kind("ADDRESS", _parse_host)
SOURCE = Kind("HOST PORT", _parse_source, toml_type=list)
DIRECTORY = Kind("PATH", _parse_directory)
FILE_NAME = Kind("NAME", _parse_file_name)
# A password is bytes, which need not be UTF-8.
PASSWORD = Kind("PASSWORD", encode, decode, is_secret=True)
USERS = Kind(
    "NAME RULE ...", _parse_users, _show_users, toml_type=list, put_together=join_words, separator="\n", is_secret=True
)
EVICTION_POLICY = one_of(
    *("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"),
    *("allkeys-lru", "allkeys-lfu", "allkeys-random", "noeviction"),
)._replace(placeholder="POLICY")
SAVE_POINTS = Kind("SECONDS CHANGES ...", _parse_save_points, _show_save_points, toml_type=list, separator=" ")
OUTPUT_LIMITS = Kind("CLASS HARD SOFT SECONDS ...", _parse_output_limits, _show_output_limits, toml_type=list, separator=" ",
                     join=lambda present, given: {**present, **given})  # fmt: skip
TLS_VERSIONS = Kind("|".join(TLS_PROTOCOLS), _parse_tls_protocols, " ".join, toml_type=list, choices=TLS_PROTOCOLS)
RETENTION = Kind("AGE|FRAMES", parse_retention, lambda retention: retention.text)
EVENTS = Kind("CLASSES", _parse_event_classes, _show_event_classes)
PERCENTILES = Kind("PERCENT ...", _parse_percentiles, _show_percentiles, toml_type=list)
ADDRESSES = Kind("ADDRESS ...", _parse_addresses, " ".join, toml_type=list)
