"""The configuration: the value of every option, and how the command line, environment and a file set them.

This module reads no file, no environment and no sys.argv: they are passed in. The options themselves are in options.table.
Modules that only some starts need are imported where they are needed, so that other starts take less time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kvserver._speedups.choice import PURE_VARIABLE
from kvserver.errors import ConfigError, ConfigSetError
from kvserver.options.kinds import decode, encode
from kvserver.options.retention import Retention
from kvserver.options.settings import Setting, add, find, find_option, inert, meant, normal_name, parse
from kvserver.options.table import BY_NAME, CONFIG_FILE, OPTIONS, Change, Option
from kvserver.patterns import matcher

ENVIRONMENT_PREFIX = "KVSERVER_"
# Kubernetes sets these in every container beside a service named "kvserver". They are not meant as options.
KUBERNETES_NAME = r"KVSERVER_(SERVICE_(HOST|PORT)(_\w+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)"
KUBERNETES_PORT = r"(tcp|udp|sctp)://"
# Short forms of options on the command line, as redis-cli has them.
SHORT = {"-p": "port"}
NOTHING_TO_LISTEN_ON = (
    "nothing to listen on: port and tls-port are 0 or bind is empty, and unixsocket is empty; "
    "--port auto takes any port that is free"
)
# These can't change while the server runs, but Redis's reason comes first.
PROTECTED_IN_REDIS = {"dir", "dbfilename"}


class Config:
    """The value of every option, in an attribute of its name with `_` for `-`. A new Config has the defaults.

    `file` is the path of the file that the values were loaded from, `ignored` the names in the environment that look like
    options and are none, `notices` the lines that there are to log of the file. Each is empty if there is nothing of the kind.
    """

    file = ""
    ignored = ""
    notices = tuple[str, ...]()

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
    history: Retention
    stop_writes_on_bgsave_error: bool
    shutdown_mode: str
    appendonly: bool
    appendfsync: str
    auto_aof_rewrite_percentage: int
    auto_aof_rewrite_min_size: int  # bytes
    medium: str
    snapshots: str
    lease_milliseconds: int
    read_fence: bool
    replica_serve_stale_data: bool
    announce_ip: str
    announce_port: int
    replicaof: str  # host and port, with a blank between them; or empty
    masteruser: bytes
    masterauth: bytes
    repl_timeout: int  # seconds
    tls_replication: bool
    tls_client_cert_file: str
    tls_client_key_file: str
    tls_client_key_file_pass: bytes
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
    tracking_table_max_keys: int
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
    user: tuple[tuple[bytes, ...], ...]  # of each its name, and the rules
    aclfile: str
    acl_pubsub_default: str
    acllog_max_len: int
    enable_protected_configs: str
    enable_debug_command: str
    slowlog_log_slower_than: int  # microseconds
    slowlog_max_len: int
    latency_monitor_threshold: int  # milliseconds
    notify_keyspace_events: str
    http_port: int
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

    def put(self, option: Option, value: Any) -> None:
        """Let an option have this value, also one that means nothing here."""
        if option.name in BY_NAME:
            setattr(self, option.attribute, value)
        else:
            self.inert = {**self.inert, option.name: option.kind.show(value)}

    def get_matching(self, patterns: Iterable[bytes]) -> dict[bytes, bytes]:
        """The names and values that CONFIG GET shows. A name without wildcards is shown as the client spelled it."""
        known = {name: option for name, option in {**BY_NAME, **inert()}.items() if option.change is not Change.UNSEEN}
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
            option = BY_NAME.get(found) or inert().get(found)
            if option is None or option.change is Change.UNSEEN:
                raise ConfigSetError(f"ERR Unknown option or number of arguments for CONFIG SET - '{shown}'")
            if not may_change_protected and (option.change is Change.PROTECTED or found in PROTECTED_IN_REDIS):
                raise config_set_failed(shown, "can't set protected config")
            if option.change in (Change.FIXED, Change.COMMANDED):
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
        if self.medium:
            from kvserver.options.engine import needed_by_engine

            for option in changed:
                if reason := needed_by_engine(option.name, self):
                    raise config_set_failed(option.name, reason)
        for option, value_now in changed.items():
            self.put(option, value_now)
        return [option.name for option in changed if option.name in BY_NAME]

    def describe(self, name: str) -> str:
        """The option and its value for the log, but the name alone of a password."""
        option = BY_NAME[name]
        return name if option.kind.is_secret else f"{name} {option.kind.show(getattr(self, option.attribute))}".rstrip()


def config_set_failed(name: str, reason: str) -> ConfigSetError:
    """The error for one option of a CONFIG SET; also for a change that the server then can't carry out."""
    return ConfigSetError(f"ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")


# The sources of values: command line, environment, file


def load(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    read_file: Callable[[str], str],
    find_files: Callable[[str], Sequence[str]] = lambda pattern: [],
) -> Config:
    """The configuration: the command line overrides the environment, which overrides the file, which overrides the default.

    `arguments` are the words behind the program's name: `--name value`, `--name=value`, `--save 900 1`, `-p 6380`. A first
    word that is no option, `--config PATH` or KVSERVER_CONFIG names a file in TOML or in Redis's form, whose text `read_file`
    returns; `find_files` returns the paths that a pattern in it stands for. ConfigError for anything that is wrong in a
    source, even if another source overrides it. Names in the environment that are no option are `ignored`: others set some.
    """
    from_arguments = _read_arguments(arguments)
    from_environment, ignored = _read_environment(environ)
    file_setting = from_environment.pop(CONFIG_FILE.name, None)
    file_setting = from_arguments.pop(CONFIG_FILE.name, file_setting)
    config = Config()
    if ignored:
        config.ignored = ", ".join(ignored)
    from_file: Mapping[str, Setting] = {}
    if file_setting and file_setting.text:
        path = config.file = file_setting.text
        try:
            text = read_file(path)
        except OSError as error:
            raise ConfigError(f"the file {path} can't be read: {error.strerror or error}") from None
        from_file, config.notices = read_options(path, text, read_file, find_files)
    for settings in (from_file, from_environment, from_arguments):
        for setting in settings.values():
            option = setting.option
            config.put(option, option.kind.join(config.value(option), parse(setting)))
    if config.medium:
        from kvserver.options.engine import settle_engine

        given = {**from_file, **from_environment, **from_arguments}
        settle_engine(config, {name: setting.origin for name, setting in given.items()})
    if not config.unixsocket and not ((config.port or config.tls_port) and config.bind):
        raise ConfigError(NOTHING_TO_LISTEN_ON)
    if config.http_port and not config.bind:
        raise ConfigError("nothing to listen on for http-port: bind is empty")
    return config


def read_options(
    path: str, text: str, read_file: Callable[[str], str], find_files: Callable[[str], Sequence[str]]
) -> tuple[Mapping[str, Setting], tuple[str, ...]]:
    """The options that the text of a file sets, by name, and lines for the log. ConfigError if anything is wrong in it."""
    from kvserver.options.redis_conf import is_redis_conf, read_redis_conf

    if text.lstrip().startswith("{"):
        raise ConfigError(f"the file {path} looks like JSON: options are TOML (port = 6379) or as in redis.conf (port 6379)")
    if is_redis_conf(path, text):
        return read_redis_conf(path, text, read_file, find_files)
    from kvserver.options.toml import read_toml

    return read_toml(text, f"the file {path}"), ()


def _read_arguments(arguments: Sequence[str]) -> dict[str, Setting]:
    settings: dict[str, Setting] = {}
    known = {**BY_NAME, CONFIG_FILE.name: CONFIG_FILE}
    words = list(reversed(arguments))
    if words and not words[-1].startswith("-"):
        settings[CONFIG_FILE.name] = Setting(CONFIG_FILE, "the command line", words.pop())
    while words:
        word = words.pop()
        written, equals, value = word.partition("=")
        if short := re.fullmatch(rf"({'|'.join(SHORT)})(?:=(.*)|([0-9]*))", word, re.DOTALL):
            # `-p 6380`, and as one word `-p6380`.
            written, equals, value = short[1], short[2] or short[3], short[2] or short[3]
        elif not word.startswith("--"):
            guess = meant(normal_name(written.lstrip("-")), known, "--{}".format) if word.startswith("-") else ""
            raise ConfigError(f"{word!r} on the command line: options begin with --{guess}")
        values = [value] if equals else []
        while not equals and words and not words[-1].startswith("--") and not (values and words[-1] in SHORT):
            values.append(words.pop())

        origin = f"{written} on the command line"
        option = find_option(SHORT.get(written, written.removeprefix("--")), origin, known, "--{}".format)
        if not values:
            raise ConfigError(f"{origin}: a value is missing: {option.kind.placeholder}")
        if len(values) > 1 and option.kind.toml_type is not list:
            raise ConfigError(f"{origin}: it takes one value, not {len(values)}")
        if option is CONFIG_FILE and option.name in settings:
            raise ConfigError(f"{origin}: there is another file before it: {settings[option.name].text}")
        text = value if equals else option.kind.put_together(values)
        add(settings, Setting(option, origin, text))
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
            guess = meant(name, known, _variable).removeprefix("; ")
            ignored.append(ascii(variable)[1:-1] + (f" ({guess})" if guess else ""))
        elif option.name != "port" or not re.match(KUBERNETES_PORT, text):
            settings[option.name] = Setting(option, f"{variable} in the environment", text)
    return settings, ignored


def _variable(option: str) -> str:
    """The variable of the environment for an option, perhaps with the value that stands behind the option's name."""
    name, blank, value = option.partition(" ")
    return ENVIRONMENT_PREFIX + name.upper().replace("-", "_") + (f"={value}" if blank else "")
