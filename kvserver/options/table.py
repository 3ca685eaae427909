"""The table of options: a row for each, with its kind, its default and its help. Names and defaults are Redis's.

A new option takes a row here and an annotated attribute in `config.Config`. Redis's options that mean nothing here are in
`inert`.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from kvserver.options.kinds import (
    ADDRESSES,
    DIRECTORY,
    EVENTS,
    EVICTION_POLICY,
    FILE_NAME,
    HOST,
    INT_MAX,
    LEASE,
    LONG_MAX,
    MIB,
    OUTPUT_LIMITS,
    PASSWORD,
    PATH,
    PERCENTILES,
    PERMISSION,
    PORT,
    RETENTION,
    SAVE_POINTS,
    SOURCE,
    TLS_VERSIONS,
    UINT_MAX,
    ULLONG_MAX,
    URL,
    USERS,
    YES_NO,
    Kind,
    integer,
    memory_size,
    one_of,
)

# The most databases that a server may have. A frame that tells of more must not get memory for each.
MOST_DATABASES: Final = 1024
# The value of `dir` for a server that has nothing on the disk.
IN_MEMORY: Final = "memory:"


class Change(Enum):
    """The times at which CONFIG SET may change an option."""

    LIVE = "at any time"
    PROTECTED = "only as enable-protected-configs says: it names a file"
    FIXED = "never"
    COMMANDED = "never: a command of its own changes it"
    UNSEEN = "never, and CONFIG knows nothing of it: ACL changes it"


LIVE, PROTECTED, FIXED, COMMANDED, UNSEEN = (
    Change.LIVE, Change.PROTECTED, Change.FIXED, Change.COMMANDED, Change.UNSEEN
)  # fmt: skip


class Option(NamedTuple):
    """An option. `default` is a text that `kind` parses. `alias` is an older name of Redis's, or empty."""

    name: str
    change: Change
    kind: Kind
    default: str
    help: str
    alias: str = ""

    @property
    def attribute(self) -> str:
        """The name of the attribute of Config that holds the value."""
        return self.name.replace("-", "_")


# fmt: off
OPTION_GROUPS: dict[str, tuple[Option, ...]] = {
    "Network": (
        Option("port", LIVE, PORT, "6379", "TCP port to listen on; 0 for no TCP, auto for any that is free"),
        Option("bind", LIVE, ADDRESSES, "127.0.0.1",
               "addresses to listen on; one that begins with '-' may be missing; * is all of IPv4, ::* all of IPv6"),
        Option("unixsocket", FIXED, PATH, "", "Unix socket to listen on; empty for none"),
        Option("unixsocketperm", FIXED, PERMISSION, "0", "mode of that file, such as 700; 0 for the umask's"),
        Option("tcp-backlog", FIXED, integer(0, INT_MAX), "511", "connections that may wait to be accepted"),
        Option("tcp-keepalive", LIVE, integer(0, INT_MAX), "300", "seconds between TCP probes; 0 for none"),
        Option("timeout", LIVE, integer(0, INT_MAX), "0", "seconds a client may be idle; 0 for no limit"),
        Option("uvloop", FIXED, YES_NO, "yes", "run on uvloop where it is installed"),
    ),
    "TLS": (
        Option("tls-port", LIVE, PORT, "0", "TCP port for TLS; 0 for none, auto for any. --port 0 leaves only this one"),
        Option("tls-cert-file", PROTECTED, PATH, "",
               "PEM file of the server's certificate, and of those that it is signed by"),
        Option("tls-key-file", PROTECTED, PATH, "", "PEM file of its private key"),
        Option("tls-key-file-pass", LIVE, PASSWORD, "", "passphrase of that file"),
        Option("tls-ca-cert-file", PROTECTED, PATH, "", "PEM file of certificates that a client's must be signed by"),
        Option("tls-ca-cert-dir", PROTECTED, PATH, "", "directory of such certificates, named as by openssl rehash"),
        Option("tls-auth-clients", LIVE, one_of("no", "yes", "optional"), "yes",
               "clients must have a certificate; optional: if they show one, it must be good"),
        Option("tls-protocols", LIVE, TLS_VERSIONS, "", "versions of TLS; empty for all of these"),
        Option("tls-ciphers", LIVE, PATH, "", "OpenSSL's list of ciphers of TLSv1.2; empty for its default"),
    ),
    "Persistence": (
        Option("dir", FIXED, DIRECTORY, "./kvserver-data",
               f"directory of the data, created if it is missing; {IN_MEMORY} for nothing on the disk"),
        Option("dbfilename", FIXED, FILE_NAME, "dump.kvs", "file of the snapshots, in dir"),
        Option("save", LIVE, SAVE_POINTS, "3600 1 300 100 60 10000",
               "take a snapshot after SECONDS with CHANGES or more, several --save add up; empty for never"),
        Option("keep-frames", LIVE, integer(1, INT_MAX), "3",
               "snapshots that compaction of the file keeps; in a vault of --medium or --snapshots, 100 at most"),
        Option("history", LIVE, RETENTION, "0",
               "keep what is older than the last snapshot, to go back in time: 7d, 12h, or a number of frames; 0 for none"),
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
    "Engine": (
        Option("medium", FIXED, URL, "",
               "URL of the engine that has the journal and the snapshots, and that other nodes share: nats://, s3://, file:; "
               "empty: they are in dir"),
        Option("snapshots", FIXED, URL, "",
               "URL of a place for snapshots, s3://: those of the engine, or copies of those in dir; empty for none"),
        Option("lease-milliseconds", FIXED, LEASE, "0",
               "how long a primary may be silent before a standby takes over; 0: as suits the engine, 3000 or 10000"),
        Option("read-fence", LIVE, YES_NO, "no",
               "let replies leave only behind an append that was sent after their command ran"),
        Option("replica-serve-stale-data", LIVE, YES_NO, "yes",
               "a standby or replica answers reads while it does not hear from whom it follows", "slave-serve-stale-data"),
        Option("announce-ip", FIXED, HOST, "", "address that other nodes and clients reach this one at; empty: that of bind"),
        Option("announce-port", FIXED, integer(0, 65535), "0", "port that they reach it at; 0: that of port"),
    ),
    "Following": (
        Option("replicaof", COMMANDED, SOURCE, "",
               "redis-server to follow: its data is taken over, and kept up to date, until REPLICAOF NO ONE; empty for none",
               "slaveof"),
        Option("masteruser", LIVE, PASSWORD, "", "user to log in as there; empty for the default user"),
        Option("masterauth", LIVE, PASSWORD, "", "password to log in with there; empty for none"),
        Option("repl-timeout", LIVE, integer(1, INT_MAX), "60", "seconds it may be silent before a new connection is made"),
        Option("tls-replication", LIVE, YES_NO, "no", "connect to it by TLS; tls-ca-cert-file or -dir says whom to trust"),
        Option("tls-client-cert-file", PROTECTED, PATH, "",
               "PEM file of the certificate to show to it; empty for that of the server"),
        Option("tls-client-key-file", PROTECTED, PATH, "", "PEM file of its private key"),
        Option("tls-client-key-file-pass", LIVE, PASSWORD, "", "passphrase of that file"),
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
        Option("hll-sparse-max-bytes", LIVE, memory_size(0, LONG_MAX), "3000",
               "length from which on a HyperLogLog is dense, which takes 12 KB"),
        Option("databases", FIXED, integer(1, MOST_DATABASES), "16", "databases, of which SELECT takes one"),
        Option("maxmemory", LIVE, memory_size(0, ULLONG_MAX), "0", "what keys and values may take; 0 for no limit"),
        Option("maxmemory-policy", LIVE, EVICTION_POLICY, "noeviction",
               "who goes when there is more: of the keys with an expiry, volatile-lru, volatile-lfu, volatile-random or "
               "volatile-ttl; of all keys, allkeys-lru, allkeys-lfu or allkeys-random; or, by noeviction, nobody"),
        Option("maxmemory-samples", LIVE, integer(1, INT_MAX), "5", "keys that are looked at for each one that goes"),
        Option("maxmemory-eviction-tenacity", LIVE, integer(0, 100), "10",
               "how many keys may go before a command has to wait no longer"),
        Option("busy-reply-threshold", LIVE, integer(0, LONG_MAX), "5000",
               "milliseconds after which others are answered BUSY while a script runs, which can be killed then; 0 for never",
               "lua-time-limit"),
        Option("lua-memory-limit", LIVE, memory_size(MIB, LONG_MAX), "256mb", "what all scripts together may take"),
        Option("tracking-table-max-keys", LIVE, integer(0, LONG_MAX), "1000000",
               "keys that are remembered as read by clients that track keys (CLIENT TRACKING); 0 for no limit"),
        Option("lfu-log-factor", LIVE, integer(0, INT_MAX), "10", "how slowly counters of use grow under an LFU policy"),
        Option("lfu-decay-time", LIVE, integer(0, INT_MAX), "1", "minutes without use that take one off; 0 for never"),
    ),
    "Data types": (
        Option("hash-max-listpack-entries", LIVE, integer(0, LONG_MAX), "512",
               "fields up to which OBJECT ENCODING calls a hash listpack", "hash-max-ziplist-entries"),
        Option("hash-max-listpack-value", LIVE, memory_size(0, LONG_MAX), "64",
               "bytes of the longest name or value of such a hash", "hash-max-ziplist-value"),
        Option("set-max-intset-entries", LIVE, integer(0, LONG_MAX), "512",
               "members up to which OBJECT ENCODING calls a set of integers intset"),
        Option("zset-max-listpack-entries", LIVE, integer(0, LONG_MAX), "128",
               "members up to which OBJECT ENCODING calls a sorted set listpack", "zset-max-ziplist-entries"),
        Option("zset-max-listpack-value", LIVE, memory_size(0, LONG_MAX), "64",
               "bytes of the longest member of such a sorted set", "zset-max-ziplist-value"),
        Option("stream-node-max-entries", LIVE, integer(0, LONG_MAX), "100",
               "entries of a stream that trims with ~ remove at once; 0 for no limit"),
        Option("stream-node-max-bytes", LIVE, memory_size(0, LONG_MAX), "4096",
               "bytes that such entries take at most; 0 for no limit"),
    ),
    "Security": (
        Option("protected-mode", LIVE, YES_NO, "yes", "without a password, serve only clients on this machine"),
        Option("requirepass", LIVE, PASSWORD, "", "password of the default user; empty for none"),
        Option("user", UNSEEN, USERS, "", "a user and its rules, as for ACL SETUSER; several --user add up"),
        Option("aclfile", FIXED, PATH, "",
               "file of all users, which ACL LOAD reads and ACL SAVE writes; empty: they are in the file of options"),
        Option("acl-pubsub-default", LIVE, one_of("allchannels", "resetchannels"), "resetchannels",
               "the channels that a new user may use: all of them, or none"),
        Option("acllog-max-len", LIVE, integer(0, LONG_MAX), "128", "denials that ACL LOG keeps"),
        Option("enable-protected-configs", FIXED, one_of("no", "yes", "local"), "no",
               "who may change by CONFIG SET which files are read; local: only connections from this machine"),
        Option("enable-debug-command", FIXED, one_of("no", "yes", "local"), "local",
               "who may use DEBUG; local: only connections from this machine"),
    ),
    "Monitoring": (
        Option("slowlog-log-slower-than", LIVE, integer(-1, LONG_MAX), "10000",
               "microseconds from which on SLOWLOG keeps a command; -1 for none"),
        Option("slowlog-max-len", LIVE, integer(0, LONG_MAX), "128", "commands that SLOWLOG keeps"),
        Option("latency-monitor-threshold", LIVE, integer(0, LONG_MAX), "0",
               "milliseconds from which on LATENCY keeps an event; 0 for none"),
        Option("notify-keyspace-events", LIVE, EVENTS, "",
               "events of keys that subscribers are told of: classes g$lshzxetdnm, A for all but n and m; and K, E or both"),
        Option("http-port", FIXED, PORT, "0",
               "HTTP port, at the addresses of bind, of /metrics for Prometheus, /healthz and /readyz; 0 for none"),
        Option("latency-tracking", LIVE, YES_NO, "yes", "tell in INFO and LATENCY HISTOGRAM how long commands take"),
        Option("latency-tracking-info-percentiles", LIVE, PERCENTILES, "50 99 99.9",
               "percentiles that INFO latencystats shows"),
    ),
    "Log": (
        Option("loglevel", LIVE, one_of("debug", "verbose", "notice", "warning"), "notice", "what to log"),
        Option("logfile", FIXED, PATH, "",
               "file to log to, opened anew when it was moved or removed; empty for standard error"),
        Option("log-format", FIXED, one_of("text", "json"), "text", "lines for people, or one JSON object in each line"),
    ),
}
# fmt: on
OPTIONS = tuple(option for options in OPTION_GROUPS.values() for option in options)
CONFIG_FILE = Option("config", FIXED, PATH, "", "file of options, in TOML (port = 6379) or as redis.conf (port 6379)")

# By the name and by the alias.
BY_NAME = {name: option for option in OPTIONS for name in (option.name, option.alias) if name}
