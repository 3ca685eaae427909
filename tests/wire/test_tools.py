"""What tools for people and for monitoring send is answered: as redis-server answers it, or at least with no error of our own.

The commands are those in the sources of RedisInsight (its BrowserTool… and its CLI, Slow Log, Profiler and Analysis pages),
redis_exporter (exporter.go and its kin), the agents of Datadog (redisdb), Netdata (go.d), Telegraf and New Relic, and of what
Spring Session, Sidekiq, BullMQ and Celery look at when they begin.
"""

from __future__ import annotations

import pytest

from helpers.servers import ServerProcess, parse

DATA = """
SET text hello
SET number 7
HSET hash field value other 1
RPUSH list a b c
SADD set a b c
ZADD sorted 1 a 2 b
XADD stream 1-1 field value
XGROUP CREATE stream group 0
PFADD log a b
"""

REDIS_INSIGHT = """
PING
HELLO 3
CLIENT SETNAME redisinsight-common-12345678
CLIENT SETINFO LIB-NAME redisinsight
CLIENT LIST
CLIENT INFO
CLIENT GETNAME
COMMAND
COMMAND COUNT
COMMAND DOCS get
COMMAND GETKEYS get text
INFO
INFO server
INFO keyspace
INFO memory
INFO stats
INFO replication
INFO clients
INFO modules
MODULE LIST
ACL WHOAMI
ACL LIST
ACL CAT
CLUSTER INFO
CLUSTER NODES
CONFIG GET databases
CONFIG GET notify-keyspace-events
CONFIG GET slowlog*
CONFIG GET slowlog-log-slower-than
CONFIG GET slowlog-max-len
CONFIG SET slowlog-max-len 128
SLOWLOG GET 50
SLOWLOG LEN
SLOWLOG RESET
DBSIZE
SELECT 0
SCAN 0 MATCH * COUNT 500
SCAN 0 MATCH * COUNT 500 TYPE hash
TYPE hash
TTL hash
EXISTS hash
EXPIRE hash 1000
PERSIST hash
MEMORY USAGE hash SAMPLES 0
OBJECT ENCODING hash
OBJECT FREQ text
OBJECT IDLETIME text
RENAME text text2
RENAMENX text2 text
GET text
GETRANGE text 0 100
STRLEN text
SET text hello EX 100
HLEN hash
HGET hash field
HSCAN hash 0 MATCH * COUNT 100
HTTL hash FIELDS 1 field
HSET hash field value
HDEL hash other
LLEN list
LRANGE list 0 10
LINDEX list 0
LSET list 0 z
LPUSH list x
RPUSHX list y
LPUSHX list x
LPOP list 1
RPOP list
SCARD set
SSCAN set 0 MATCH * COUNT 100
SISMEMBER set a
SREM set a
ZCARD sorted
ZSCAN sorted 0 MATCH * COUNT 100
ZRANGE sorted 0 10 WITHSCORES
ZREVRANGE sorted 0 10 WITHSCORES
ZRANGE sorted 0 1 REV
ZSCORE sorted a
ZREM sorted a
XLEN stream
XINFO STREAM stream
XINFO STREAM stream FULL
XINFO GROUPS stream
XINFO CONSUMERS stream group
XRANGE stream - + COUNT 10
XREVRANGE stream + - COUNT 10
XPENDING stream group
XPENDING stream group - + 10
XREADGROUP GROUP group me COUNT 1 STREAMS stream >
XACK stream group 1-1
XGROUP SETID stream group 0
XGROUP DELCONSUMER stream group me
XDEL stream 1-1
XGROUP DESTROY stream group
JSON.SET document $ {"a":1}
JSON.GET document .
JSON.TYPE document
JSON.DEL document
FT._LIST
GRAPH.LIST
TS.INFO key
MEMORY DOCTOR
MEMORY STATS
LATENCY DOCTOR
LATENCY LATEST
PUBSUB CHANNELS
PUBSUB NUMPAT
PUBSUB SHARDCHANNELS
PUBLISH channel message
UNLINK text
"""

REDIS_EXPORTER = """
PING
CLIENT SETNAME redis_exporter
CONFIG GET *
INFO ALL
INFO
INFO commandstats
INFO errorstats
INFO latencystats
CLUSTER INFO
CLUSTER NODES
SENTINEL MASTERS
LATENCY LATEST
LATENCY HISTOGRAM
SLOWLOG LEN
SLOWLOG GET 1
SLOWLOG GET -1
CLIENT LIST
CLIENT LIST TYPE normal
CLIENT LIST TYPE pubsub
MODULE LIST
FT._LIST
ACL LIST
ACL USERS
SELECT 0
SCAN 0 MATCH * COUNT 1000
TYPE text
GET text
PFCOUNT log
STRLEN text
LLEN list
SCARD set
ZCARD sorted
HLEN hash
XLEN stream
XINFO STREAM stream
XINFO GROUPS stream
XINFO CONSUMERS stream group
MEMORY USAGE text
OBJECT IDLETIME text
DBSIZE
KEYS nosuch:*
"""

AGENTS = """
INFO all
INFO everything
INFO default
INFO commandstats
INFO replication
INFO keyspace
CONFIG GET maxclients
CONFIG GET maxmemory
CONFIG GET maxmemory-policy
CONFIG GET slowlog-max-len
CONFIG GET save
CONFIG GET appendonly
CONFIG GET dir
CONFIG GET dbfilename
CONFIG GET databases
CONFIG GET timeout
CONFIG GET tcp-keepalive
CONFIG GET requirepass
CONFIG GET cluster-enabled
CONFIG GET io-threads
CONFIG GET lua-time-limit
CONFIG GET client-output-buffer-limit
CONFIG GET client-query-buffer-limit
CONFIG GET replica-announce-ip
CONFIG GET latency-monitor-threshold
CONFIG GET notify-keyspace-events
CONFIG GET proto-max-bulk-len
CONFIG GET *max-*-entries* maxm* nosuch* timeout
CONFIG SET notify-keyspace-events Egx
CONFIG SET notify-keyspace-events KEA
CONFIG GET notify-keyspace-events
CONFIG RESETSTAT
SLOWLOG GET 128
CLIENT LIST
CLIENT NO-EVICT ON
ROLE
LASTSAVE
TIME
LATENCY LATEST
LATENCY HISTORY command
MEMORY STATS
MEMORY MALLOC-STATS
MEMORY PURGE
COMMAND COUNT
OBJECT ENCODING text
DEBUG OBJECT text
LOLWUT
"""

LISTS = {"RedisInsight": REDIS_INSIGHT, "redis_exporter": REDIS_EXPORTER, "agents and frameworks": AGENTS}


def names_of(reply: bytes) -> list[bytes]:
    """The names in a reply to CONFIG GET, of either protocol."""
    found = parse(reply)
    return list(found) if isinstance(found, dict) else found[::2]


@pytest.mark.parametrize("name", LISTS)
def test_no_command_of_a_tool_fails_that_does_not_fail_on_redis(
    kvserver: ServerProcess, redis_oracle: ServerProcess, name: str
) -> None:
    with kvserver.connect() as ours, redis_oracle.connect() as theirs:
        for line in filter(None, (DATA + LISTS[name]).splitlines()):
            reply, expected = ours.command(*line.split()), theirs.command(*line.split())
            # Of these there are more here than in Redis 7.0.
            is_ours = line.startswith(("JSON.", "HTTL", "CLIENT SETINFO"))
            if reply.startswith(b"-"):
                assert reply == expected, line
            else:
                assert is_ours or reply[:1] == expected[:1], line
            if line.startswith("CONFIG GET") and "*" not in line:
                assert names_of(reply) == names_of(expected), line
        for wire in (ours, theirs):
            wire.command("CONFIG", "SET", "notify-keyspace-events", "")


def test_names_by_a_pattern_are_those_of_redis_and_our_own(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    with kvserver.connect() as ours, redis_oracle.connect() as theirs:
        for patterns in (["*"], ["*max*", "[ab]*"], ["timeout", "time*", "TIMEOUT"], ["nosuch", "save*"]):
            names, expected = (set(wire.value("CONFIG", "GET", *patterns)[::2]) for wire in (ours, theirs))
            assert expected <= names, patterns
            assert len(names) < len(expected) + 40
            ours.command("HELLO", 3)
            assert ours.command("CONFIG", "GET", *patterns).startswith(b"%%%d\r\n" % len(names))
            ours.command("HELLO", 2)
