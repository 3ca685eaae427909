"""The options: names, types, defaults and help, and how the command line, environment and a file set them.

Every option is one row of OPTION_GROUPS. Names, values and error texts are those of redis-server 7.0.15
wherever the meaning is the same, but values that it takes by accident (`mb` for 0 bytes, `5 ` for a save
point of 0 changes) are refused. This module reads no file, environment or sys.argv: they are passed in.
"""

from __future__ import annotations

import difflib
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kvserver.glob import matcher

INT_MAX, UINT_MAX, LONG_MAX = 2**31 - 1, 2**32 - 1, 2**63 - 1
MEMORY_UNITS = {"": 1, "b": 1, "k": 10**3, "kb": 2**10, "m": 10**6, "mb": 2**20, "g": 10**9, "gb": 2**30}
MIB = MEMORY_UNITS["mb"]
MAX_BIND_ADDRESSES = 16  # Redis's CONFIG_BINDADDR_MAX
ENVIRONMENT_PREFIX = "KVSERVER_"
# Kubernetes sets these in every container beside a service named "kvserver". They are not meant as options.
KUBERNETES_NAME = re.compile(r"KVSERVER_(SERVICE_(HOST|PORT)(_\w+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)")
# Redis still says slave in what it shows. There are no replicas here, but configurations that name them are taken.
OUTPUT_CLASSES = {"normal": "normal", "slave": "slave", "replica": "slave", "pubsub": "pubsub"}
TLS_PROTOCOLS = ("TLSv1.2", "TLSv1.3")  # Redis takes older ones, too, which RFC 8996 forbids
KUBERNETES_PORT = re.compile(r"(tcp|udp|sctp)://")


class ConfigError(Exception):
    """A wrong option, value or file. The message is one line that says which, and where it came from."""


class ConfigSetError(ConfigError):
    """A refused CONFIG SET. The message is Redis's error line without the leading `-`, without CR or LF."""


# --- Kinds of values ---


@dataclass(frozen=True)
class Kind:
    """A type of value. What `parse` returns, `show` prints as a text that parses to the same value."""

    placeholder: str  # stands for the value in --help
    parse: Callable[[str], Any]  # raises ValueError with the reason in Redis's words
    show: Callable[[Any], str] = str  # as CONFIG GET has it
    toml_type: type = str  # what a TOML file may hold besides a string
    join: Callable[[Any, Any], Any] = lambda present, given: given  # what a new value makes of the present one


def integer(minimum: int, maximum: int) -> Kind:
    def parse(text: str) -> int:
        if not re.fullmatch(r"0|-?[1-9][0-9]{0,18}", text) or not -LONG_MAX - 1 <= int(text) <= LONG_MAX:
            raise ValueError("argument couldn't be parsed into an integer")
        return _in_range(int(text), minimum, maximum)

    return Kind("NUMBER", parse, toml_type=int)


def memory_size(minimum: int, maximum: int) -> Kind:
    """Bytes, in Redis's units: 1k is 1000 and 1kb is 1024."""

    def parse(text: str) -> int:
        match = re.fullmatch(r"([0-9]{1,127})([a-z]*)", text.lower())  # Redis reads no more digits either
        if match is None or match[2] not in MEMORY_UNITS:
            raise ValueError("argument must be a memory value")
        return _in_range(int(match[1]) * MEMORY_UNITS[match[2]], minimum, maximum)

    return Kind("BYTES", parse, toml_type=int)


def one_of(*names: str) -> Kind:
    def parse(text: str) -> str:
        if text.lower() not in names:
            raise ValueError(f"argument(s) must be one of the following: {', '.join(names)}")
        return text.lower()

    return Kind("|".join(names), parse, toml_type=bool if "no" in names else str)


def _in_range(number: int, minimum: int, maximum: int) -> int:
    if not minimum <= number <= maximum:
        raise ValueError(f"argument must be between {minimum} and {maximum} inclusive")
    return number


def _parse_yes_no(text: str) -> bool:
    if text.lower() not in ("yes", "no"):
        raise ValueError("argument must be 'yes' or 'no'")
    return text.lower() == "yes"


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


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


YES_NO = Kind("yes|no", _parse_yes_no, lambda value: "yes" if value else "no", toml_type=bool)
# No integer in TOML, which reads 0o700 and 448 as the same number: only a string can say which one is meant.
PERMISSION = Kind("OCTAL", _parse_permission, "{:o}".format)
PATH = Kind("PATH", _parse_path)
DIRECTORY = Kind("PATH", _parse_directory)
FILE_NAME = Kind("NAME", _parse_file_name)
PASSWORD = Kind("PASSWORD", _encode, _decode)  # bytes, which need not be UTF-8
SAVE_POINTS = Kind("SECONDS CHANGES ...", _parse_save_points, _show_save_points, toml_type=list)
OUTPUT_LIMITS = Kind("CLASS HARD SOFT SECONDS ...", _parse_output_limits, _show_output_limits, toml_type=list,
                     join=lambda present, given: {**present, **given})  # fmt: skip
TLS_VERSIONS = Kind("|".join(TLS_PROTOCOLS), _parse_tls_protocols, " ".join, toml_type=list)
ADDRESSES = Kind("ADDRESS ...", _parse_addresses, " ".join, toml_type=list)


# --- The options ---


class Option(NamedTuple):
    """One option. `default` is text for `kind` to parse; `live` tells whether CONFIG SET can change it."""

    name: str
    live: bool
    kind: Kind
    default: str
    help: str

    @property
    def attribute(self) -> str:
        """The name of the attribute of Config that holds the value."""
        return self.name.replace("-", "_")


LIVE, FIXED = True, False
# fmt: off
OPTION_GROUPS: dict[str, tuple[Option, ...]] = {
    "Network": (
        Option("port", FIXED, integer(0, 65535), "6379", "TCP port to listen on; 0 for no TCP"),
        Option("bind", FIXED, ADDRESSES, "127.0.0.1",
               "addresses to listen on; one that begins with '-' may be missing; * and ::* stand for all"),
        Option("unixsocket", FIXED, PATH, "", "Unix socket to listen on; empty for none"),
        Option("unixsocketperm", FIXED, PERMISSION, "0", "mode of that file, such as 700; 0 for the umask's"),
        Option("tcp-backlog", FIXED, integer(0, INT_MAX), "511", "connections that may wait to be accepted"),
        Option("tcp-keepalive", LIVE, integer(0, INT_MAX), "300", "seconds between TCP probes; 0 for none"),
        Option("timeout", LIVE, integer(0, INT_MAX), "0", "seconds a client may be idle; 0 for no limit"),
        Option("uvloop", FIXED, YES_NO, "yes", "run on uvloop where it is installed"),
    ),
    "TLS": (
        Option("tls-port", FIXED, integer(0, 65535), "0", "TCP port for TLS; 0 for none. --port 0 leaves only this one"),
        Option("tls-cert-file", LIVE, PATH, "", "PEM file of the server's certificate, and of those that it is signed by"),
        Option("tls-key-file", LIVE, PATH, "", "PEM file of its private key"),
        Option("tls-key-file-pass", LIVE, PASSWORD, "", "passphrase of that file"),
        Option("tls-ca-cert-file", LIVE, PATH, "", "PEM file of certificates that a client's must be signed by"),
        Option("tls-ca-cert-dir", LIVE, PATH, "", "directory of such certificates, named as by openssl rehash"),
        Option("tls-auth-clients", LIVE, one_of("no", "yes", "optional"), "yes",
               "clients must have a certificate; optional: if they show one, it must be good"),
        Option("tls-protocols", LIVE, TLS_VERSIONS, "", "versions of TLS; empty for all of these"),
        Option("tls-ciphers", LIVE, PATH, "", "OpenSSL's list of ciphers of TLSv1.2; empty for its default"),
    ),
    "Persistence": (
        Option("dir", FIXED, DIRECTORY, "./kvserver-data", "directory of the data; created if it is missing"),
        Option("dbfilename", FIXED, FILE_NAME, "dump.kvs", "file of the snapshots, in dir"),
        Option("save", LIVE, SAVE_POINTS, "3600 1 300 100 60 10000",
               "take a snapshot after SECONDS with CHANGES or more, several --save add up; empty for never"),
        Option("keep-frames", LIVE, integer(1, INT_MAX), "3", "snapshots that compaction of the file keeps"),
        Option("stop-writes-on-bgsave-error", LIVE, YES_NO, "yes", "refuse writes after a snapshot failed"),
        Option("shutdown-mode", LIVE, one_of("exit", "flush"), "exit",
               "SHUTDOWN takes a snapshot, then leaves (exit) or keeps serving (flush)"),
        Option("appendonly", LIVE, YES_NO, "yes", "keep a journal of the writes since the last snapshot"),
        Option("appendfsync", LIVE, one_of("everysec", "always", "no"), "everysec",
               "sync the journal once a second, before each reply, or when the system does"),
        Option("auto-aof-rewrite-percentage", LIVE, integer(0, INT_MAX), "100",
               "take a snapshot when the journal has grown by so many percent; 0 for never"),
        Option("auto-aof-rewrite-min-size", LIVE, memory_size(0, LONG_MAX), "64mb",
               "journal size below which its growth causes no snapshot"),
    ),
    "Limits": (
        Option("maxclients", LIVE, integer(1, UINT_MAX), "10000", "connections at the same time"),
        Option("proto-max-bulk-len", LIVE, memory_size(MIB, LONG_MAX), "512mb", "longest argument of any"),
        Option("client-query-buffer-limit", LIVE, memory_size(MIB, LONG_MAX), "1gb",
               "input of one client that may wait to be parsed"),
        Option("client-output-buffer-limit", LIVE, OUTPUT_LIMITS,
               "normal 1073741824 268435456 60 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
               "close a client of CLASS (normal, replica, pubsub) that leaves HARD bytes of replies unread, or SOFT bytes "
               "for SECONDS; 0 for no limit"),
        # Clients ask for these three. They can be set to the one value that they have; an error names it.
        Option("databases", FIXED, integer(1, 1), "1", "databases; there is only one"),
        Option("maxmemory", LIVE, memory_size(0, 0), "0", "memory limit; there is none"),
        Option("maxmemory-policy", LIVE, one_of("noeviction"), "noeviction", "keys are never evicted"),
    ),
    "Security": (
        Option("protected-mode", LIVE, YES_NO, "yes", "without a password, serve only clients on this machine"),
        Option("requirepass", LIVE, PASSWORD, "", "password of the default user; empty for none"),
        Option("enable-debug-command", FIXED, one_of("no", "yes", "local"), "local",
               "who may use DEBUG; local: only connections from this machine"),
    ),
    "Log": (
        Option("loglevel", LIVE, one_of("debug", "verbose", "notice", "warning"), "notice", "what to log"),
        Option("logfile", FIXED, PATH, "", "file to log to; empty for standard output"),
    ),
}
# fmt: on
OPTIONS = tuple(option for options in OPTION_GROUPS.values() for option in options)
CONFIG_FILE = Option("config", FIXED, PATH, "", "TOML file of options, such as port = 6379")

_BY_NAME = {option.name: option for option in OPTIONS}
_BY_NAME_WITH_FILE = {**_BY_NAME, CONFIG_FILE.name: CONFIG_FILE}


class Config:
    """The value of every option, in an attribute of its name with `_` for `-`. A new one has the defaults."""

    port: int
    bind: tuple[str, ...]  # each may begin with "-", which means: no error if the machine doesn't have it
    unixsocket: str
    unixsocketperm: int
    tcp_backlog: int
    tcp_keepalive: int  # seconds
    timeout: int  # seconds
    uvloop: bool
    tls_port: int
    tls_cert_file: str
    tls_key_file: str
    tls_key_file_pass: bytes
    tls_ca_cert_file: str
    tls_ca_cert_dir: str
    tls_auth_clients: str
    tls_protocols: tuple[str, ...]
    tls_ciphers: str
    dir: str  # as given; CONFIG GET shows what is here, so whoever makes it absolute assigns it
    dbfilename: str
    save: tuple[tuple[int, int], ...]  # (seconds, changes)
    keep_frames: int
    stop_writes_on_bgsave_error: bool
    shutdown_mode: str
    appendonly: bool
    appendfsync: str
    auto_aof_rewrite_percentage: int
    auto_aof_rewrite_min_size: int  # bytes
    maxclients: int
    proto_max_bulk_len: int  # bytes
    client_query_buffer_limit: int  # bytes
    client_output_buffer_limit: dict[str, tuple[int, int, int]]  # class: hard bytes, soft bytes, seconds
    databases: int
    maxmemory: int  # bytes
    maxmemory_policy: str
    protected_mode: bool
    requirepass: bytes
    enable_debug_command: str
    loglevel: str
    logfile: str

    def __init__(self) -> None:
        for option in OPTIONS:
            setattr(self, option.attribute, option.kind.parse(option.default))

    def get_matching(self, patterns: Iterable[bytes]) -> dict[bytes, bytes]:
        """CONFIG GET: names and values. A name without wildcards comes back spelled as it came."""
        names: dict[Option, bytes] = {}
        for pattern in patterns:
            if not re.search(rb"[*?[]", pattern):
                if found := _BY_NAME.get(_decode(pattern.lower())):
                    names.setdefault(found, pattern)
            else:
                matches = matcher(pattern, ignore_case=True)
                for option in OPTIONS:
                    if matches(option.name.encode()):
                        names.setdefault(option, option.name.encode())
        texts = ((name, option.kind.show(getattr(self, option.attribute))) for option, name in names.items())
        return {name: _encode(text) for name, text in texts}

    def set(self, pairs: Iterable[tuple[bytes, bytes]]) -> list[str]:
        """CONFIG SET: change all of these options or, raising ConfigSetError, none.

        Returns the names of those whose value is a different one now, for the caller to act on.
        """
        texts: dict[Option, str] = {}
        for name, value in pairs:
            # In its error texts Redis takes the name as a C string, and then makes line ends harmless.
            shown = re.sub("[\r\n]", " ", _decode(name).partition("\0")[0])
            option = _BY_NAME.get(_decode(name.lower()))
            if option is None:
                raise ConfigSetError(f"ERR Unknown option or number of arguments for CONFIG SET - '{shown}'")
            if not option.live:
                raise config_set_failed(shown, "can't set immutable config")
            if option in texts:
                raise config_set_failed(shown, "duplicate parameter")
            texts[option] = _decode(value)
        changed = {}
        for option, text in texts.items():
            try:
                given = option.kind.parse(text)
            except ValueError as error:
                raise config_set_failed(option.name, str(error)) from None
            present = getattr(self, option.attribute)
            value_now = option.kind.join(present, given)
            if value_now != present:
                changed[option] = value_now
        for option, value_now in changed.items():
            setattr(self, option.attribute, value_now)
        return [option.name for option in changed]


def config_set_failed(name: str, reason: str) -> ConfigSetError:
    """The error for one option of a CONFIG SET; also for a change that the server then can't carry out."""
    return ConfigSetError(f"ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")


# --- Where values come from ---


class _Setting(NamedTuple):
    option: Option
    origin: str  # the name as that source writes it, and the source; for messages
    text: str


def load(arguments: Sequence[str], environ: Mapping[str, str], read_file: Callable[[str], str]) -> Config:
    """The configuration: command line over environment over file over default.

    `arguments` are the words after the program's name and any subcommand: `--name value`, `--name=value`,
    `--save 900 1`. `--config PATH` or KVSERVER_CONFIG names a TOML file, whose text `read_file` gives.
    Raises ConfigError for anything wrong in any of them, even where another source would override it.
    """
    from_arguments = _read_arguments(arguments)
    from_environment = _read_environment(environ)
    file_setting = from_environment.pop(CONFIG_FILE.name, None)
    file_setting = from_arguments.pop(CONFIG_FILE.name, file_setting)
    from_file = _read_toml(file_setting.text, read_file) if file_setting and file_setting.text else {}

    config = Config()
    for settings in (from_file, from_environment, from_arguments):
        for option, origin, text in settings.values():
            try:
                given = option.kind.parse(text)
            except ValueError as error:
                raise ConfigError(f"{origin}: {error} (got {text!r})") from None
            setattr(config, option.attribute, option.kind.join(getattr(config, option.attribute), given))
    if not config.unixsocket and not ((config.port or config.tls_port) and config.bind):
        raise ConfigError("nothing to listen on: port and tls-port are 0 or bind is empty, and unixsocket is empty")
    return config


def _read_arguments(arguments: Sequence[str]) -> dict[str, _Setting]:
    settings: dict[str, _Setting] = {}
    words = list(reversed(arguments))
    while words:
        word = words.pop()
        if not word.startswith("--"):
            raise ConfigError(f"{word!r} on the command line: options begin with --")
        written, equals, value = word.partition("=")
        values = [value] if equals else []
        while not equals and words and not words[-1].startswith("--"):
            values.append(words.pop())

        origin = f"{written} on the command line"
        option = _find_option(written.removeprefix("--"), origin, _BY_NAME_WITH_FILE)
        if not values:
            raise ConfigError(f"{origin}: a value is missing")
        if len(values) > 1 and option.kind.toml_type is not list:
            raise ConfigError(f"{origin}: it takes one value, not {len(values)}")
        text = " ".join(values)
        if option.kind in (SAVE_POINTS, OUTPUT_LIMITS) and text and option.name in settings:  # "" clears, as with redis-server
            text = f"{settings[option.name].text} {text}".lstrip()
        settings[option.name] = _Setting(option, origin, text)
    return settings


def _read_environment(environ: Mapping[str, str]) -> dict[str, _Setting]:
    settings = {}
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or KUBERNETES_NAME.fullmatch(variable):
            continue
        origin = f"{variable} in the environment"
        option = _find_option(variable.removeprefix(ENVIRONMENT_PREFIX), origin, _BY_NAME_WITH_FILE)
        if option.name != "port" or not KUBERNETES_PORT.match(text):
            settings[option.name] = _Setting(option, origin, text)
    return settings


def _read_toml(path: str, read_file: Callable[[str], str]) -> dict[str, _Setting]:
    try:
        table = tomllib.loads(read_file(path))
    except OSError as error:
        raise ConfigError(f"the file {path} can't be read: {error.strerror or error}") from None
    except ValueError as error:  # not UTF-8, or not TOML
        raise ConfigError(f"the file {path} is not TOML: {error}") from None
    settings: dict[str, _Setting] = {}
    for written, value in table.items():
        origin = f"{written!r} in the file {path}"
        option = _find_option(written, origin, _BY_NAME)
        if option.name in settings:
            raise ConfigError(f"{origin}: {option.name} is there twice")
        settings[option.name] = _Setting(option, origin, _toml_text(value, option.kind.toml_type, origin))
    return settings


def _toml_text(value: object, wanted: type, origin: str) -> str:
    """A TOML value as the text that an option's kind parses."""
    if isinstance(value, str):
        return value
    if type(value) is wanted:  # isinstance would take True for an integer
        if isinstance(value, bool):
            return YES_NO.show(value)
        if isinstance(value, int):
            return str(value)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return " ".join(value)
    also = {int: "an integer or ", bool: "true, false or ", list: "an array of strings or "}.get(wanted, "")
    raise ConfigError(f"{origin}: it must be {also}a string")


def _find_option(written: str, origin: str, known: Mapping[str, Option]) -> Option:
    name = written.lower().replace("_", "-")
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1)
    raise ConfigError(f"{origin}: unknown option" + (f"; did you mean {close[0]}?" if close else ""))


def options_help() -> str:
    """The part of --help about the options: each with its values, its meaning and its default, in groups."""
    lines = []
    for group, options in {**OPTION_GROUPS, "Configuration file": (CONFIG_FILE,)}.items():
        lines.append(f"{group}:")
        for option in options:
            lines.append(f"  --{option.name} {option.kind.placeholder}")
            about = f"{option.help} (default: {option.default or 'empty'})"
            lines += textwrap.wrap(about, 100, initial_indent=" " * 6, subsequent_indent=" " * 6)
        lines.append("")
    return "\n".join(lines) + (
        "BYTES may have a unit: 1kb is 1024 bytes, 1k is 1000. KVSERVER_PORT in the environment stands for\n"
        "--port, and so on. The command line overrides the environment, and that overrides the file.\n"
    )
