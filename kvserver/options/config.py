"""The configuration: the value of every option, and how the command line, environment and a file set them.

This module reads no file, no environment and no sys.argv: they are passed in. The options themselves are in options.table.
Modules that only some starts need are imported where they are needed, so that other starts take less time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from kvserver._speedups.choice import PURE_VARIABLE
from kvserver.errors import ConfigError, ConfigSetError
from kvserver.options.kinds import OUTPUT_LIMITS, PASSWORD, SAVE_POINTS, YES_NO, decode, encode
from kvserver.options.table import BY_NAME, CONFIG_FILE, OPTION_GROUPS, OPTIONS, Change, Option
from kvserver.patterns import matcher

ENVIRONMENT_PREFIX = "KVSERVER_"
# Kubernetes sets these in every container beside a service named "kvserver". They are not meant as options.
KUBERNETES_NAME = r"KVSERVER_(SERVICE_(HOST|PORT)(_\w+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)"
KUBERNETES_PORT = r"(tcp|udp|sctp)://"
# These can't change while the server runs, but Redis's reason comes first.
PROTECTED_IN_REDIS = {"dir", "dbfilename"}


class Config:
    """The value of every option, in an attribute of its name with `_` for `-`. A new Config has the defaults.

    `file` is the path of the TOML file that the values were loaded from, `ignored` the names in the environment that look
    like options and are none. Both are empty if there is nothing of the kind.
    """

    file = ""
    ignored = ""

    port: int
    # An address may begin with "-": then it is no error if the machine doesn't have it.
    bind: tuple[str, ...]
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
    # The path as it was given, until the server makes it absolute: CONFIG GET shows what is here.
    dir: str
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
    # Hard limit in bytes, soft limit in bytes, and the seconds that the soft limit may be exceeded, by class of client.
    client_output_buffer_limit: dict[str, tuple[int, int, int]]
    hll_sparse_max_bytes: int
    databases: int
    maxmemory: int  # bytes
    maxmemory_policy: str
    maxmemory_samples: int
    maxmemory_eviction_tenacity: int
    busy_reply_threshold: int  # milliseconds
    lua_memory_limit: int  # bytes
    lfu_log_factor: int
    lfu_decay_time: int  # minutes
    hash_max_listpack_entries: int
    hash_max_listpack_value: int  # bytes
    set_max_intset_entries: int
    zset_max_listpack_entries: int
    zset_max_listpack_value: int  # bytes
    stream_node_max_entries: int
    stream_node_max_bytes: int
    protected_mode: bool
    requirepass: bytes
    enable_protected_configs: str
    enable_debug_command: str
    slowlog_log_slower_than: int  # microseconds
    slowlog_max_len: int
    latency_monitor_threshold: int  # milliseconds
    notify_keyspace_events: str
    latency_tracking: bool
    latency_tracking_info_percentiles: tuple[float, ...]
    loglevel: str
    logfile: str
    log_format: str

    def __init__(self) -> None:
        for option in OPTIONS:
            setattr(self, option.attribute, option.kind.parse(option.default))
        # The texts of options that mean nothing here and were set, by name.
        self.inert: Mapping[str, str] = {}

    def value(self, option: Option) -> Any:
        """The present value of an option, also of one that means nothing here."""
        if option.name in BY_NAME:
            return getattr(self, option.attribute)
        return option.kind.parse(self.inert.get(option.name, option.default))

    def _put(self, option: Option, value: Any) -> None:
        if option.name in BY_NAME:
            setattr(self, option.attribute, value)
        else:
            self.inert = {**self.inert, option.name: option.kind.show(value)}

    def get_matching(self, patterns: Iterable[bytes]) -> dict[bytes, bytes]:
        """The names and values that CONFIG GET shows. A name without wildcards is shown as the client spelled it."""
        known = {**BY_NAME, **_inert()}
        names: dict[str, bytes] = {}
        for pattern in patterns:
            if not re.search(rb"[*?[]", pattern):
                found = decode(pattern.lower())
                if found in known:
                    names.setdefault(found, pattern)
            else:
                matches = matcher(pattern, ignore_case=True)
                for name in known:
                    if matches(name.encode()):
                        names.setdefault(name, name.encode())
        return {shown: encode(known[name].kind.show(self.value(known[name]))) for name, shown in names.items()}

    def set(self, pairs: Iterable[tuple[bytes, bytes]], *, is_local: bool = False) -> list[str]:
        """Change all of these options as CONFIG SET does; or none, and raise ConfigSetError.

        `is_local` says that the client is on this machine. Returns the names of the options that the caller has to act on:
        their value is another one now, or names a file that is to be read again.
        """
        may_change_protected = self.enable_protected_configs == "yes" or (
            self.enable_protected_configs == "local" and is_local
        )
        texts: dict[str, tuple[Option, str]] = {}
        for name, value in pairs:
            # For its error texts Redis cuts the name at a NUL, and puts blanks for line ends.
            shown = re.sub("[\r\n]", " ", decode(name).partition("\0")[0])
            found = decode(name.lower())
            option = BY_NAME.get(found) or _inert().get(found)
            if option is None:
                raise ConfigSetError(f"ERR Unknown option or number of arguments for CONFIG SET - '{shown}'")
            if not may_change_protected and (option.change is Change.PROTECTED or found in PROTECTED_IN_REDIS):
                raise config_set_failed(shown, "can't set protected config")
            if option.change is Change.FIXED:
                raise config_set_failed(shown, "can't set immutable config")
            if found in texts:
                raise config_set_failed(shown, "duplicate parameter")
            texts[found] = option, decode(value)
        changed = {}
        for set_as, (option, text) in texts.items():
            try:
                given = option.kind.parse(text)
            except ValueError as error:
                raise config_set_failed(set_as, str(error)) from None
            present = self.value(option)
            value_now = option.kind.join(present, given)
            if value_now != present or option.change is Change.PROTECTED:
                changed[option] = value_now
        for option, value_now in changed.items():
            self._put(option, value_now)
        return [option.name for option in changed if option.name in BY_NAME]

    def describe(self, name: str) -> str:
        """The option and its value for the log, but the name alone of a password."""
        option = BY_NAME[name]
        return name if option.kind is PASSWORD else f"{name} {option.kind.show(getattr(self, option.attribute))}".rstrip()


def config_set_failed(name: str, reason: str) -> ConfigSetError:
    """The error for one option of a CONFIG SET; also for a change that the server then can't carry out."""
    return ConfigSetError(f"ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")


# The sources of values: command line, environment, file


class Setting(NamedTuple):
    """The text of an option in one source. `origin` tells in messages how the source writes the name, and which it is."""

    option: Option
    origin: str
    text: str


def load(arguments: Sequence[str], environ: Mapping[str, str], read_file: Callable[[str], str]) -> Config:
    """The configuration: the command line overrides the environment, which overrides the file, which overrides the default.

    `arguments` are the words behind the program's name: `--name value`, `--name=value`, `--save 900 1`. `--config PATH` or
    KVSERVER_CONFIG names a TOML file, whose text `read_file` returns. ConfigError for anything that is wrong in a source,
    even if another source overrides it. Names in the environment that are no option are `ignored`, since others set some.
    """
    from_arguments = _read_arguments(arguments)
    from_environment, ignored = _read_environment(environ)
    file_setting = from_environment.pop(CONFIG_FILE.name, None)
    file_setting = from_arguments.pop(CONFIG_FILE.name, file_setting)
    config = Config()
    if ignored:
        config.ignored = ", ".join(ignored)
    from_file = {}
    if file_setting and file_setting.text:
        config.file = file_setting.text
        from_file = _read_toml(config.file, read_file)
    for settings in (from_file, from_environment, from_arguments):
        for option, origin, text in settings.values():
            try:
                given = option.kind.parse(text)
            except ValueError as error:
                raise ConfigError(f"{origin}: {error} (got {text!r})") from None
            config._put(option, option.kind.join(config.value(option), given))
    if not config.unixsocket and not ((config.port or config.tls_port) and config.bind):
        raise ConfigError("nothing to listen on: port and tls-port are 0 or bind is empty, and unixsocket is empty")
    return config


def _read_arguments(arguments: Sequence[str]) -> dict[str, Setting]:
    settings: dict[str, Setting] = {}
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
        option = _find_option(written.removeprefix("--"), origin, {**BY_NAME, CONFIG_FILE.name: CONFIG_FILE})
        if not values:
            raise ConfigError(f"{origin}: a value is missing")
        if len(values) > 1 and option.kind.toml_type is not list:
            raise ConfigError(f"{origin}: it takes one value, not {len(values)}")
        text = " ".join(values)
        # Several such options add up, and an empty text clears them: as with redis-server.
        if option.kind in (SAVE_POINTS, OUTPUT_LIMITS) and text and option.name in settings:
            text = f"{settings[option.name].text} {text}".lstrip()
        settings[option.name] = Setting(option, origin, text)
    return settings


def _read_environment(environ: Mapping[str, str]) -> tuple[dict[str, Setting], list[str]]:
    """The options that the environment sets, and the names that are no option, each with the one that may be meant."""
    settings, ignored = {}, []
    known = {**BY_NAME, CONFIG_FILE.name: CONFIG_FILE}
    for variable, text in environ.items():
        is_ours = variable.startswith(ENVIRONMENT_PREFIX) and variable != PURE_VARIABLE
        if not is_ours or re.fullmatch(KUBERNETES_NAME, variable):
            continue
        name = normal_name(variable.removeprefix(ENVIRONMENT_PREFIX))
        option = known.get(name) or find(name)
        if option is None:
            guess = _guess(name, known)
            ignored.append(
                ascii(variable)[1:-1]
                + (f" (did you mean {ENVIRONMENT_PREFIX}{guess.upper().replace('-', '_')}?)" if guess else "")
            )
        elif option.name != "port" or not re.match(KUBERNETES_PORT, text):
            settings[option.name] = Setting(option, f"{variable} in the environment", text)
    return settings, ignored


def _read_toml(path: str, read_file: Callable[[str], str]) -> dict[str, Setting]:
    try:
        return read_options(read_file(path), f"the file {path}")
    except OSError as error:
        raise ConfigError(f"the file {path} can't be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"the file {path} is not TOML: {error}") from None


def read_options(text: str, source: str) -> dict[str, Setting]:
    """The options that a TOML text sets, by name. ConfigError, naming the source, if the text holds anything else."""
    import tomllib

    try:
        table = tomllib.loads(text)
    except ValueError as error:
        raise ConfigError(f"{source} is not TOML: {error}") from None
    settings: dict[str, Setting] = {}
    for written, value in table.items():
        origin = f"{written!r} in {source}"
        option = _find_option(written, origin, BY_NAME)
        if option.name in settings:
            raise ConfigError(f"{origin}: {option.name} is there twice")
        settings[option.name] = Setting(option, origin, _toml_text(value, option.kind.toml_type, origin))
    return settings


def _toml_text(value: object, wanted: type, origin: str) -> str:
    """A TOML value as the text that an option's kind parses."""
    if isinstance(value, str):
        return value
    # isinstance would take True for an integer.
    if type(value) is wanted:
        if isinstance(value, bool):
            return YES_NO.show(value)
        if isinstance(value, int):
            return str(value)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return " ".join(value)
    also = {int: "an integer or ", bool: "true, false or ", list: "an array of strings or "}.get(wanted, "")
    raise ConfigError(f"{origin}: it must be {also}a string")


def _find_option(written: str, origin: str, known: Mapping[str, Option]) -> Option:
    name = normal_name(written)
    if option := known.get(name) or find(name):
        return option
    guess = _guess(name, known)
    raise ConfigError(f"{origin}: unknown option" + (f"; did you mean {guess}?" if guess else ""))


def normal_name(written: str) -> str:
    """The name as the table of options writes it, for a name in capitals or with `_`."""
    return written.lower().replace("_", "-")


def _guess(name: str, known: Iterable[str]) -> str:
    """The name of the option that may be meant, or an empty text."""
    import difflib

    return "".join(difflib.get_close_matches(name, known, n=1))


def find(name: str) -> Option | None:
    """The option of this normal name or alias, also an option that means nothing here; or None."""
    if name in BY_NAME:
        return BY_NAME[name]
    return next((option for known, option in _inert().items() if normal_name(known) == name), None)


def _inert() -> Mapping[str, Option]:
    from kvserver.options.inert import INERT_BY_NAME

    return INERT_BY_NAME


def options_help() -> str:
    """The part of --help about the options, in groups: each option with its values, its meaning and its default."""
    import textwrap

    lines = []
    for group, options in {**OPTION_GROUPS, "Configuration file": (CONFIG_FILE,)}.items():
        lines.append(f"{group}:")
        for option in options:
            lines.append(f"  --{option.name} {option.kind.placeholder}")
            about = f"{option.help} (default: {option.default or 'empty'})"
            lines += textwrap.wrap(about, 100, initial_indent=" " * 6, subsequent_indent=" " * 6, break_on_hyphens=False)
        lines.append("")
    return "\n".join(lines) + (
        "BYTES may have a unit: 1kb is 1024 bytes, 1k is 1000. KVSERVER_PORT in the environment stands for\n"
        "--port, and so on. The command line overrides the environment, and that overrides the file.\n"
        "The other options of redis-server are taken as well, and mean nothing here: README lists them.\n"
    )
