"""What COMMAND and COMMAND DOCS tell of commands besides their rows: arguments, key specifications, tips.

As Redis 7.0 gives them, but for the history of its own versions. Of a command that is not here nothing of this is told.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Documentation(NamedTuple):
    """`arguments` are in the notation of dispatch/syntax.

    `keys` has the flags of each key specification, with `first:last:step ;` where these are not those of the row.
    """

    arguments: str = ""
    keys: str = ""
    tips: str = ""
    key_notes: str = ""  # of the first key specification
    deprecated: tuple[str, str] = ("", "")  # since when, and what replaces it


DOCUMENTATION: Final[dict[str, Documentation]] = {
    "acl|cat": Documentation("categoryname?"),
    "acl|getuser": Documentation("username"),
    "append": Documentation("key:key value", "RW insert"),
    "auth": Documentation("username?@6.0.0 password"),
    "bgsave": Documentation("SCHEDULE?@3.2.2"),
    "bitcount": Documentation("key:key index{start:integer end:integer index_unit<BYTE|BIT>?@7.0.0}?", "RO access"),
    "bitfield": Documentation(
        "key:key operation<GET=encoding_offset{encoding "
        "offset:integer}|write{OVERFLOW=wrap_sat_fail<WRAP|SAT|FAIL>? "
        "write_operation<SET=encoding_offset_value{encoding offset:integer "
        "value:integer}|INCRBY=encoding_offset_increment{encoding offset:integer increment:integer}>}>?+",
        "RW access update variable_flags",
        key_notes="This command allows both access and modification of the key",
    ),
    "bitfield_ro": Documentation("key:key GET=encoding_offset{encoding offset:integer}?++", "RO access"),
    "bitop": Documentation("operation destkey:key key:key#1+", "2:0:1 OW update; 3:-1:1 RO access"),
    "bitpos": Documentation(
        "key:key bit:integer index{start:integer end_index{end:integer index_unit<BYTE|BIT>?@7.0.0}?}?",
        "RO access",
    ),
    "client|caching": Documentation("mode<YES|NO>"),
    "client|info": Documentation(tips="nondeterministic_output"),
    "client|kill": Documentation(
        "filter<ip:port|new-format<ID=client-id:integer?@2.8.12|TYPE=normal_master_slave_pubsub<NORMAL|MASTER"
        "@3.2.0|SLAVE|REPLICA@5.0.0|PUBSUB>?@2.8.12|USER=username?|ADDR=ip:port?|LADDR=ip:port?@6.2.0|SKIPME="
        "yes/no?>+>",
    ),
    "client|list": Documentation(
        "TYPE=normal_master_replica_pubsub<NORMAL|MASTER|REPLICA|PUBSUB>?@5.0.0 ID=id{client-id:integer+}?@6.2.0",
        tips="nondeterministic_output",
    ),
    "client|no-evict": Documentation("enabled<ON|OFF>"),
    "client|pause": Documentation("timeout:integer mode<WRITE|ALL>?@6.2.0"),
    "client|reply": Documentation("on_off_skip<ON|OFF|SKIP>"),
    "client|setname": Documentation("connection-name"),
    "client|tracking": Documentation(
        "status<ON|OFF> REDIRECT=client-id:integer? PREFIX=prefix?++ BCAST? OPTIN? OPTOUT? NOLOOP?",
    ),
    "client|unblock": Documentation("client-id:integer timeout_error<TIMEOUT|ERROR>?"),
    "command": Documentation(tips="nondeterministic_output_order"),
    "command|docs": Documentation("command-name?+", tips="nondeterministic_output_order"),
    "command|info": Documentation("command-name?+", tips="nondeterministic_output_order"),
    "command|list": Documentation(
        "FILTERBY=filterby<MODULE=module-name|ACLCAT=category|PATTERN=pattern:pattern>?",
        tips="nondeterministic_output_order",
    ),
    "config|get": Documentation("parameter{parameter}+"),
    "config|set": Documentation(
        "parameter_value{parameter value}+",
        tips="request_policy:all_nodes response_policy:all_succeeded",
    ),
    "copy": Documentation(
        "source:key destination:key#1 DB=destination-db:integer? REPLACE?",
        "1:0:1 RO access; 2:0:1 OW update",
    ),
    "dbsize": Documentation(tips="request_policy:all_shards response_policy:agg_sum"),
    "decr": Documentation("key:key", "RW access update"),
    "decrby": Documentation("key:key decrement:integer", "RW access update"),
    "del": Documentation("key:key+", "RM delete", tips="request_policy:multi_shard response_policy:agg_sum"),
    "dump": Documentation("key:key", "RO access", tips="nondeterministic_output"),
    "echo": Documentation("message"),
    "exists": Documentation("key:key+", "RO", tips="request_policy:multi_shard response_policy:agg_sum"),
    "expire": Documentation("key:key seconds:integer condition<NX|XX|GT|LT>?@7.0.0", "RW update"),
    "expireat": Documentation("key:key unix-time-seconds:unix-time condition<NX|XX|GT|LT>?@7.0.0", "RW update"),
    "expiretime": Documentation("key:key", "RO access"),
    "flushall": Documentation(
        "async<ASYNC@4.0.0|SYNC@6.2.0>?",
        tips="request_policy:all_shards response_policy:all_succeeded",
    ),
    "flushdb": Documentation("async<ASYNC@4.0.0|SYNC@6.2.0>?", tips="request_policy:all_shards response_policy:all_succeeded"),
    "get": Documentation("key:key", "RO access"),
    "getbit": Documentation("key:key offset:integer", "RO access"),
    "getdel": Documentation("key:key", "RW access delete"),
    "getex": Documentation(
        "key:key expiration<EX=seconds:integer|PX=milliseconds:integer|EXAT=unix-time-seconds:unix-time|PXAT="
        "unix-time-milliseconds:unix-time|PERSIST>?",
        "RW access update",
        key_notes="RW and UPDATE because it changes the TTL",
    ),
    "getrange": Documentation("key:key start:integer end:integer", "RO access"),
    "getset": Documentation("key:key value", "RW access update", deprecated=("6.2.0", "`SET` with the `!GET` argument")),
    "hello": Documentation("arguments{protover:integer AUTH=username_password{username password}? SETNAME=clientname?}?"),
    "incr": Documentation("key:key", "RW access update"),
    "incrby": Documentation("key:key increment:integer", "RW access update"),
    "incrbyfloat": Documentation("key:key increment:double", "RW access update"),
    "info": Documentation("section?+", tips="nondeterministic_output request_policy:all_shards response_policy:special"),
    "keys": Documentation("pattern:pattern", tips="request_policy:all_shards nondeterministic_output_order"),
    "lastsave": Documentation(tips="nondeterministic_output"),
    "latency|doctor": Documentation(tips="nondeterministic_output request_policy:all_nodes response_policy:special"),
    "latency|graph": Documentation("event", tips="nondeterministic_output request_policy:all_nodes response_policy:special"),
    "latency|histogram": Documentation(
        "command?+",
        tips="nondeterministic_output request_policy:all_nodes response_policy:special",
    ),
    "latency|history": Documentation("event", tips="nondeterministic_output request_policy:all_nodes response_policy:special"),
    "latency|latest": Documentation(tips="nondeterministic_output request_policy:all_nodes response_policy:special"),
    "latency|reset": Documentation("event?+", tips="request_policy:all_nodes response_policy:all_succeeded"),
    "lcs": Documentation("key1:key key2:key LEN? IDX? MINMATCHLEN=len:integer? WITHMATCHLEN?", "RO access"),
    "lolwut": Documentation("VERSION=version:integer?"),
    "memory|doctor": Documentation(tips="nondeterministic_output request_policy:all_shards response_policy:special"),
    "memory|malloc-stats": Documentation(tips="nondeterministic_output request_policy:all_shards response_policy:special"),
    "memory|purge": Documentation(tips="request_policy:all_shards response_policy:all_succeeded"),
    "memory|stats": Documentation(tips="nondeterministic_output request_policy:all_shards response_policy:special"),
    "memory|usage": Documentation("key:key SAMPLES=count:integer?", "RO"),
    "mget": Documentation("key:key+", "RO access", tips="request_policy:multi_shard"),
    "move": Documentation("key:key db:integer", "RW access update"),
    "mset": Documentation(
        "key_value{key:key value}+",
        "OW update",
        tips="request_policy:multi_shard response_policy:all_succeeded",
    ),
    "msetnx": Documentation(
        "key_value{key:key value}+",
        "OW insert",
        tips="request_policy:multi_shard response_policy:agg_min",
    ),
    "object|encoding": Documentation("key:key", "RO", tips="nondeterministic_output"),
    "object|freq": Documentation("key:key", "RO", tips="nondeterministic_output"),
    "object|idletime": Documentation("key:key", "RO", tips="nondeterministic_output"),
    "object|refcount": Documentation("key:key", "RO", tips="nondeterministic_output"),
    "persist": Documentation("key:key", "RW update"),
    "pexpire": Documentation("key:key milliseconds:integer condition<NX|XX|GT|LT>?@7.0.0", "RW update"),
    "pexpireat": Documentation("key:key unix-time-milliseconds:unix-time condition<NX|XX|GT|LT>?@7.0.0", "RW update"),
    "pexpiretime": Documentation("key:key", "RO access"),
    "ping": Documentation("message?", tips="request_policy:all_shards response_policy:all_succeeded"),
    "psetex": Documentation("key:key milliseconds:integer value", "OW update"),
    "psubscribe": Documentation("pattern{pattern:pattern}+"),
    "pttl": Documentation("key:key", "RO access", tips="nondeterministic_output"),
    "publish": Documentation("channel message"),
    "pubsub|channels": Documentation("pattern:pattern?"),
    "pubsub|numsub": Documentation("channel?+"),
    "pubsub|shardchannels": Documentation("pattern:pattern?"),
    "pubsub|shardnumsub": Documentation("shardchannel?+"),
    "punsubscribe": Documentation("pattern:pattern?+"),
    "randomkey": Documentation(tips="request_policy:all_shards nondeterministic_output"),
    "restore": Documentation(
        "key:key ttl:integer serialized-value REPLACE?@3.0.0 ABSTTL?@5.0.0 IDLETIME=seconds:integer?@5.0.0 "
        "FREQ=frequency:integer?@5.0.0",
        "OW update",
    ),
    "rename": Documentation("key:key newkey:key#1", "1:0:1 RW access delete; 2:0:1 OW update"),
    "renamenx": Documentation("key:key newkey:key#1", "1:0:1 RW access delete; 2:0:1 OW insert"),
    "scan": Documentation(
        "cursor:integer MATCH=pattern:pattern? COUNT=count:integer? TYPE=type?@6.0.0",
        tips="nondeterministic_output request_policy:special",
    ),
    "select": Documentation("index:integer"),
    "set": Documentation(
        "key:key value condition<NX|XX>?@2.6.12 GET?@6.2.0 expiration<EX=seconds:integer@2.6.12|PX=millisecon"
        "ds:integer@2.6.12|EXAT=unix-time-seconds:unix-time@6.2.0|PXAT=unix-time-milliseconds:unix-time@6.2.0"
        "|KEEPTTL@6.0.0>?",
        "RW access update variable_flags",
        key_notes="RW and ACCESS due to the optional `GET` argument",
    ),
    "setbit": Documentation("key:key offset:integer value:integer", "RW access update"),
    "setex": Documentation("key:key seconds:integer value", "OW update"),
    "setnx": Documentation("key:key value", "OW insert"),
    "setrange": Documentation("key:key offset:integer value", "RW update"),
    "shutdown": Documentation("nosave_save<NOSAVE|SAVE>? NOW?@7.0.0 FORCE?@7.0.0 ABORT?@7.0.0"),
    "slowlog|get": Documentation("count:integer?", tips="request_policy:all_nodes nondeterministic_output"),
    "slowlog|len": Documentation(tips="request_policy:all_nodes response_policy:agg_sum nondeterministic_output"),
    "slowlog|reset": Documentation(tips="request_policy:all_nodes response_policy:all_succeeded"),
    "spublish": Documentation("shardchannel message", "not_key"),
    "ssubscribe": Documentation("shardchannel+", "not_key"),
    "strlen": Documentation("key:key", "RO"),
    "subscribe": Documentation("channel+"),
    "substr": Documentation("key:key start:integer end:integer", "RO access", deprecated=("2.0.0", "`GETRANGE`")),
    "sunsubscribe": Documentation("shardchannel?+", "not_key"),
    "swapdb": Documentation("index1:integer index2:integer"),
    "time": Documentation(tips="nondeterministic_output"),
    "touch": Documentation("key:key+", "RO", tips="request_policy:multi_shard response_policy:agg_sum"),
    "ttl": Documentation("key:key", "RO access", tips="nondeterministic_output"),
    "type": Documentation("key:key", "RO"),
    "unlink": Documentation("key:key+", "RM delete", tips="request_policy:multi_shard response_policy:agg_sum"),
    "unsubscribe": Documentation("channel?+"),
    "wait": Documentation("numreplicas:integer timeout:integer", tips="request_policy:all_shards response_policy:agg_min"),
    "watch": Documentation("key:key+", "RO"),
}
