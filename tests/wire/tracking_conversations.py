"""Conversations about CLIENT TRACKING, as text: those that Redis's own suite has (tests/unit/tracking.tcl of 7.0), and others.

A line is what a client sends at once: `name: command; command`. The last letter of a name is its protocol at first, and
`@name` is the id of a client. Behind `-` a client leaves. `* command => reply` waits until the reply to an observer is that,
and `* info` tells what INFO and CLIENT LIST say about tracking.
"""

from __future__ import annotations

SUBSCRIBED = "i2: SUBSCRIBE __redis__:invalidate"

# By the names of the suite's tests.
OF_REDIS = {
    "clients are able to enable tracking and redirect it; other connection is able to get invalidations; disable tracking": """
        r2: CLIENT TRACKING on REDIRECT @i2
        r2: SET a 1; SET b 1; GET a; INCR b; INCR a
        r2: MGET a b c d e f g; CLIENT TRACKING off
    """,
    "clients can enable the BCAST mode with the empty prefix; the connection gets messages about all the keys": """
        r2: CLIENT TRACKING on BCAST REDIRECT @i2
        r2: MSET a 1 b 2 c 3
    """,
    "clients can enable the BCAST mode with prefixes; adding prefixes to BCAST mode works": """
        r2: CLIENT TRACKING on BCAST REDIRECT @i2 PREFIX a: PREFIX b:
        r2: MULTI; INCR a:1; INCR a:2; INCR b:1; INCR b:2; INCR c:1; EXEC
        r2: CLIENT TRACKING on BCAST REDIRECT @i2 PREFIX c:
        r2: INCR c:1234
    """,
    "tracking NOLOOP mode in standard mode works": """
        r2: CLIENT TRACKING on REDIRECT @i2 NOLOOP
        r2: MGET otherkey1 loopkey otherkey2
        s2: SET otherkey1 1
        r2: SET loopkey 1
        s2: SET otherkey2 1
    """,
    "tracking NOLOOP mode in BCAST mode works": """
        r2: CLIENT TRACKING on BCAST REDIRECT @i2 NOLOOP
        s2: SET otherkey1 1
        r2: SET loopkey 1
        s2: SET otherkey2 1
    """,
    "tracking gets notification of expired keys": """
        r2: CLIENT TRACKING on BCAST REDIRECT @i2 NOLOOP
        r2: SET mykey myval px 1
        r2: SET mykeyotherkey myval
        * DBSIZE => :1
    """,
    "tracking gets notification of lazy expired keys": """
        r2: CLIENT TRACKING on BCAST REDIRECT @i2 NOLOOP
        r2: MULTI; SET mykey myval px 1; SET mykeyotherkey myval; DEBUG SLEEP 0.1; GET mykey; EXEC
        r2: GET mykey
    """,
    "HELLO 3 reply is correct; HELLO without protover": """
        r2: HELLO 3; HELLO; HELLO 2; HELLO; HELLO 4; HELLO x
    """,
    "RESP3 based basic invalidation": """
        r3: CLIENT TRACKING on
        s2: SET key1 1
        r3: GET key1
        s2: SET key1 2
        r3: PING
    """,
    "RESP3 tracking redirection; previous and new keys after switching to RESP3": """
        r3: CLIENT TRACKING on REDIRECT @i2
        s2: SET key1 1
        r3: GET key1
        s2: SET key1 2
        r3: HELLO 2
        r3: GET key1
        r3: HELLO 3
        s2: SET key1 2
        r3: GET key1
        s2: SET key1 2
    """,
    "tracking only occurs for scripts when a command calls a read-only command": """
        r3: CLIENT TRACKING on
        s2: MSET key2 1 key2 1
        r3: EVAL "redis.call('set', 'key3', 'bar')" 2 key1 key2
        s2: MSET key2 2 key1 2
        r3: EVAL "redis.call('get', 'key3')" 2 key1 key2
        s2: MSET key2 2 key1 2
        r3: EVAL_RO "redis.call('ping')" 2 key1 key2
        s2: MSET key2 2 key1 2
        r3: EVAL_RO "redis.call('get', 'key1')" 2 key1 key2
        s2: MSET key2 3 key1 3
        r3: PING
    """,
    "tracking should not occur for scripts in NOLOOP mode": """
        r3: CLIENT TRACKING on NOLOOP; SET key1 1; GET key1
        r3: EVAL "return redis.call('set', 'key1', '2')" 0; GET key1
    """,
    "RESP3 client gets tracking-redir-broken when the redirection client is terminated; TRACKINGINFO when redir broken": """
        r3: CLIENT TRACKING on REDIRECT @i2
        s2: SET key1 1
        r3: GET key1
        - i2
        s2: SET key1 2
        r3: PING; CLIENT TRACKINGINFO
    """,
    "different clients can redirect to the same connection": """
        r2: CLIENT TRACKING on REDIRECT @i2
        d2: CLIENT TRACKING on REDIRECT @i2
        s2: MSET key1 1 key2 1
        r2: GET key1
        d2: GET key2
        s2: INCR key1
        s2: INCR key2
    """,
    "different clients using different protocols can track the same key": """
        r2: CLIENT TRACKING on REDIRECT @i2
        d3: CLIENT TRACKING on
        s2: SET key1 1
        r2: GET key1
        d3: GET key1
        s2: INCR key1
        d3: PING
    """,
    "no invalidation message when using OPTIN option": """
        r2: CLIENT TRACKING on OPTIN REDIRECT @i2
        s2: SET key1 1
        r2: GET key1
        s2: SET key1 2
        r2: CLIENT TRACKING off; CLIENT TRACKING on REDIRECT @i2
        s2: SET key2 1
        r2: GET key2
        s2: SET key2 2
    """,
    "invalidation message sent when using OPTIN option with CLIENT CACHING yes": """
        r2: CLIENT TRACKING on OPTIN REDIRECT @i2
        s2: SET key1 3
        r2: CLIENT CACHING yes
        r2: GET key1
        s2: SET key1 4
    """,
    "invalidation message sent when using OPTOUT option; not with CLIENT CACHING no": """
        r2: CLIENT TRACKING on OPTOUT REDIRECT @i2
        s2: SET key1 1
        r2: GET key1
        s2: SET key1 2
        r2: CLIENT CACHING no
        r2: GET key1
        s2: SET key1 2
        s2: SET key2 1
        r2: GET key2
        s2: SET key2 2
    """,
    "able to redirect to a RESP3 client": """
        i2: UNSUBSCRIBE __redis__:invalidate; HELLO 3; SUBSCRIBE __redis__:invalidate
        r2: CLIENT TRACKING on REDIRECT @i2
        s2: SET key1 1
        r2: GET key1
        s2: INCR key1
        i2: HELLO 2
    """,
    "after switching from normal tracking to BCAST mode, no message is produced for pre-BCAST keys": """
        r3: CLIENT TRACKING on
        s2: SET key1 1
        r3: GET key1; CLIENT TRACKING off; CLIENT TRACKING on BCAST
        s2: INCR key1
        r3: PING
    """,
    "BCAST with prefix collisions throw errors": """
        r2: CLIENT TRACKING ON BCAST PREFIX FOOBAR PREFIX FOO; CLIENT TRACKING ON BCAST PREFIX FOO PREFIX FOOBAR
        r2: CLIENT TRACKING ON BCAST PREFIX FOO PREFIX BAR; CLIENT TRACKING ON BCAST PREFIX FO
        r2: CLIENT TRACKING ON BCAST PREFIX BARB; CLIENT TRACKING OFF
    """,
    "hdel deliver invalidate message after response in the same connection": """
        r3: CLIENT TRACKING on; HSET myhash f 1; HGET myhash f; HDEL myhash f; PING
    """,
    "tracking invalidation message is not interleaved with multiple keys response": """
        * DEBUG SET-ACTIVE-EXPIRE 0 => +OK
        r3: CLIENT TRACKING on
        r3: MULTI; MSET x 1 y 2; PEXPIRE y 100; GET y; EXEC
        r3: DEBUG SLEEP 0.11
        r3: MGET x y
        * DEBUG SET-ACTIVE-EXPIRE 1 => +OK
    """,
    "tracking invalidation message is not interleaved with transaction response": """
        r3: CLIENT TRACKING on; MSET a 1 b 2; GET a; MULTI; INCR a; GET b; EXEC; PING
    """,
    "tracking invalidation message of eviction keys should be before response": """
        r3: CLIENT TRACKING on; SETEX volatile-key 10000 x; GET volatile-key; CONFIG SET maxmemory-policy volatile-random
        s2: CONFIG SET maxmemory 1
        * DBSIZE => :0
        r3: PING; CONFIG SET maxmemory 0; CONFIG SET maxmemory-policy noeviction
    """,
    "unblocked BLMOVE gets notification after response": """
        r2: RPUSH list2 a
        d3: CLIENT TRACKING on; LRANGE list2 0 -1
        d3: BLMOVE list1 list2 left left 0
        r2: RPUSH list1 foo
    """,
    "tracking gets notification on tracking table key eviction": """
        r2: CLIENT TRACKING on REDIRECT @i2 NOLOOP; MSET key1 1; MGET key1
        r2: CONFIG SET tracking-table-max-keys 1; CONFIG SET tracking-table-max-keys 1000000
        * info
    """,
    "invalidation message received for flushall and flushdb": """
        r2: CLIENT TRACKING on REDIRECT @i2
        s2: SET key1 1
        r2: GET key1
        s2: FLUSHALL
        s2: SET key1 1
        r2: GET key1
        s2: FLUSHDB
    """,
    "test ASYNC flushall": """
        r2: CLIENT TRACKING on REDIRECT @i2; GET key1; GET key2
        * info
        s2: FLUSHALL ASYNC
        * info
    """,
    "flushdb tracking invalidation message is not interleaved with transaction response": """
        r3: CLIENT TRACKING on; SET a 1; GET a; MULTI; FLUSHDB; EXEC; PING
    """,
    "tracking info is correct": """
        r2: CLIENT TRACKING on REDIRECT @i2
        s2: SET key1 1; SET key2 2
        r2: GET key1; GET key2
        d2: CLIENT TRACKING on BCAST PREFIX prefix:
        s2: SET prefix:key1 1; SET prefix:key2 2
        * info
    """,
    "CLIENT GETREDIR provides correct client id": """
        r2: CLIENT TRACKING on REDIRECT @i2; CLIENT GETREDIR; CLIENT TRACKING off; CLIENT GETREDIR
        r2: CLIENT TRACKING on; CLIENT GETREDIR
    """,
    "CLIENT TRACKINGINFO provides reasonable results": """
        r2: CLIENT TRACKINGINFO; CLIENT TRACKING on; CLIENT TRACKINGINFO; CLIENT TRACKING on REDIRECT @i2 noloop
        r2: CLIENT TRACKINGINFO; CLIENT TRACKING off; CLIENT TRACKING on optin; CLIENT TRACKINGINFO
        r2: CLIENT CACHING yes; CLIENT TRACKINGINFO; CLIENT TRACKING off; CLIENT TRACKING on optout
        r2: CLIENT TRACKINGINFO; CLIENT CACHING no; CLIENT TRACKINGINFO; CLIENT TRACKING off
        r2: CLIENT TRACKING on BCAST PREFIX foo PREFIX bar; CLIENT TRACKINGINFO; CLIENT TRACKING off
        r2: CLIENT TRACKING on BCAST; CLIENT TRACKINGINFO
    """,
}

# By file and a line of it: redis-server chooses the keys by chance.
ELSEWHERE = {
    "Server is able to evacuate enough keys when num of keys surpasses limit by more than defined initial effort": (
        "tests/wire/test_tracking.py", "def test_keys_over_the_limit_are_each_told_once",
    ),
}  # fmt: skip

OTHERS = {
    "wrong words": """
        r3: CLIENT TRACKING; CLIENT TRACKING x; CLIENT TRACKING on x; CLIENT TRACKING on REDIRECT; CLIENT TRACKING on PREFIX
        r3: CLIENT TRACKING on REDIRECT 0; CLIENT TRACKING on REDIRECT x; CLIENT TRACKING off REDIRECT 99999; CLIENT CACHING
        r3: CLIENT TRACKING on REDIRECT @i2 REDIRECT @i2; CLIENT TRACKING on REDIRECT -1; CLIENT TRACKING off NOSUCH
        r3: CLIENT TRACKING on PREFIX a; CLIENT TRACKING on BCAST OPTIN; CLIENT TRACKING on OPTIN OPTOUT; CLIENT CACHING x
        r3: CLIENT TRACKING on BCAST PREFIX a PREFIX a; CLIENT TRACKING on BCAST PREFIX a PREFIX ''; CLIENT TRACKINGINFO x
        r3: CLIENT TRACKING on PREFIX a BCAST; CLIENT TRACKING on; CLIENT TRACKING on BCAST OPTIN; CLIENT TRACKING on BCAST
        r3: CLIENT TRACKING on BCAST PREFIX ''; CLIENT CACHING yes; CLIENT CACHING no; CLIENT CACHING x; CLIENT GETREDIR x
        r3: CLIENT TRACKING off; CLIENT TRACKING on OPTIN; CLIENT TRACKING on OPTOUT; CLIENT CACHING no; CLIENT CACHING x
        r3: CLIENT TRACKING off; CLIENT TRACKING on OPTOUT; CLIENT TRACKING on OPTIN; CLIENT CACHING yes; CLIENT TRACKINGINFO
    """,
    "what CLIENT CACHING says holds for one command, or one transaction": """
        r3: CLIENT TRACKING on OPTIN; CLIENT CACHING yes; CLIENT GETNAME; GET a; GET b
        r3: CLIENT CACHING yes; PING; GET c; CLIENT CACHING yes; MULTI; GET d; GET e; EXEC; GET f
        r3: MULTI; GET g; CLIENT CACHING yes; GET h; EXEC; GET i; CLIENT TRACKINGINFO
        r3: CLIENT CACHING yes; NOSUCH; GET j; CLIENT CACHING yes; GET; GET k; CLIENT CACHING yes; CLIENT TRACKING on OPTIN
        r3: CLIENT TRACKINGINFO; GET l
        s2: MSET a 1 b 1 c 1 d 1 e 1 f 1 g 1 h 1 i 1 j 1 k 1 l 1
        r3: PING
    """,
    "commands that read and those that write": """
        s2: RPUSH l 1 2; HSET h a 1; SADD s a; ZADD z 1 a; XADD x 1-1 a 1; SET n 1; PFADD p a; GEOADD g 1 1 a
        r3: CLIENT TRACKING on; LRANGE l 0 -1; HGETALL h; SMEMBERS s; ZRANGE z 0 -1; XRANGE x - +; GET n; PFCOUNT p; GEOPOS g a
        s2: LPOP l; HDEL h a; SREM s a; ZREM z a; XDEL x 1-1; INCR n; PFADD p b; GEOADD g 2 2 b
        r3: TTL n; EXISTS n l; TYPE h; STRLEN n; OBJECT ENCODING z; MEMORY USAGE s; DUMP l; DBSIZE; KEYS x*
        s2: EXPIRE n 100; RPUSH l 1; HSET h b 1; ZADD z 1 b; SADD s b; PERSIST n; EXPIRE nosuch 1
        r3: GETEX n; GETDEL n; INCR n; SORT_RO l; SORT l; TOUCH l; WATCH w; UNWATCH; LPOS l 1; GET wrong; HGET l a; STRLEN
        s2: SET n 1; RPUSH l 9; SET w 1; SETNX n 1; SET n 2 NX; DEL nosuch; APPEND n 1; SETRANGE n 0 2; LPUSHX nosuch 1
        r3: PING
    """,
    "keys that go together with others": """
        s2: MSET a 1 b 2 c 3; SADD s1 x; SADD s2 z
        r3: CLIENT TRACKING on; MGET a b c d; SMEMBERS s1; SMEMBERS s2; SMEMBERS s3
        s2: RENAME a d; COPY d b REPLACE; DEL c nosuch b; SMOVE s1 s2 x; SUNIONSTORE s3 s1; UNLINK d
        r3: PING; MGET a b c d; EXISTS a
        s2: MSET d 1 c 1 b 1 a 1; RENAMENX a x; MSETNX y 1 a 1; BITOP NOT b c; RESTORE a 0 nosuch
        r3: PING
    """,
    "a script that reads and writes": """
        r3: CLIENT TRACKING on; SET a 1
        r3: EVAL "local a = redis.call('get', KEYS[1]) redis.call('set', KEYS[1], a + 1) return a" 1 a
        s2: SET a 5
        r3: EVAL "redis.call('set', KEYS[1], 3) return redis.call('get', KEYS[1])" 1 a
        s2: SET a 5
        r3: EVAL "return redis.pcall('hget', KEYS[1], 'x')" 1 a; MULTI; EVAL "return redis.call('get', 'b')" 1 b; EXEC
        s2: MSET a 5 b 5
        s2: EVAL "redis.call('set', 'a', 1) redis.call('set', 'c', 1)" 0
        r3: EVAL "return redis.call('get', KEYS[1])" 1 c; EVAL_RO "return redis.call('get', KEYS[1])" 1 a
        s2: EVAL "redis.call('set', 'a', 1) redis.call('set', 'c', 1)" 0
        r3: PING
    """,
    "functions": """
        s2: FUNCTION LOAD REPLACE "#!lua name=l\\nredis.register_function('f', function(k) return redis.call('get', k[1]) end)"
        r3: CLIENT TRACKING on; FCALL f 1 a
        s2: SET a 1
        r3: PING
    """,
    "transactions of others, and of those who track": """
        r3: CLIENT TRACKING on; MGET a b
        s2: MULTI; SET a 1; SET b 1; SET a 2; EXEC
        r3: MULTI; GET a; SET a 1; GET a; SET b 2; GET b; FLUSHALL; GET a; FLUSHALL; SET a 1; EXEC
        s2: SET a 3
        r3: WATCH a; MULTI; SET a 2; EXEC; MULTI; GET; EXEC; MULTI; GET a; DISCARD
        s2: SET a 3
        r3: PING
    """,
    "transactions in which tracking begins and ends": """
        k3: CLIENT TRACKING on
        r3: MULTI; CLIENT TRACKING on; GET a; SET a 1; GET a; FLUSHALL; EXEC; PING; GET a
        r3: MULTI; SET a 2; CLIENT TRACKING off; SET a 3; EXEC; PING
    """,
    "databases": """
        r3: CLIENT TRACKING on; GET k; SELECT 3; GET l
        s2: SELECT 1; SET k 1; SELECT 2; SET l 1
        r3: GET k
        s2: SELECT 0; SET k 1; MOVE k 5
        r3: GET k
        s2: COPY k l DB 4; SET k 2; COPY k l DB 5 REPLACE
        r3: PING; SELECT 0; GET x
        s2: SELECT 7; FLUSHDB
    """,
    "one that waits": """
        r3: CLIENT TRACKING on; LRANGE l 0 -1; BLPOP l 0
        s2: RPUSH l 1 2
        r3: PING; XRANGE x - +; XREAD BLOCK 0 STREAMS x $
        s2: XADD x 1-1 a 1
        r3: PING; XADD x 2-1 a 1; ZRANGE z 0 -1; BZPOPMIN z 0
        s2: ZADD z 1 a
        r3: PING
    """,
    "one that hears no replies": """
        r3: CLIENT TRACKING on; GET k; CLIENT REPLY off; GET l; SET k 1
        s2: SET l 1
        r3: SET m 1; CLIENT REPLY on; GET k; CLIENT REPLY skip; SET k 1; PING
    """,
    "keys that expire": """
        * DEBUG SET-ACTIVE-EXPIRE 0 => +OK
        r3: CLIENT TRACKING on; SET k 1 PX 1; GET k; SET l 1 PX 1; GET l; DEBUG SLEEP 0.01
        r3: GET k; SET k 1
        s2: GET l
        r3: PING
        * DEBUG SET-ACTIVE-EXPIRE 1 => +OK
        r3: SET m 1 PX 1; GET m; PING
        * DBSIZE => :1
    """,
    "broadcast to one that writes": """
        r3: CLIENT TRACKING on BCAST; SET b 1; SET a 1; GET a; DEL a b nosuch; PING
        r3: MULTI; SET z 1; FLUSHDB; SET a 1; EXEC; PING; FLUSHALL
        s2: FLUSHALL; SET c 1
        r3: CLIENT TRACKING on BCAST NOLOOP; SET a 1; PING
    """,
    "broadcast to several": """
        r3: CLIENT TRACKING on BCAST PREFIX a PREFIX b
        d3: CLIENT TRACKING on BCAST PREFIX a NOLOOP
        i3: CLIENT TRACKING on BCAST REDIRECT @r3
        d3: SET a1 1; SET b1 1; MSET a3 1 a2 1
        s2: MSET a3 1 c 1 a1 1
        d3: CLIENT TRACKING off; SET a1 1
        s2: SET a1 2
        * info
    """,
    "redirection that ends and begins again": """
        r3: CLIENT TRACKING on REDIRECT @i2; GET a
        i2: UNSUBSCRIBE
        s2: SET a 1
        i2: PSUBSCRIBE x*
        r3: GET a
        s2: SET a 2
        r3: GET a; GET b
        s2: CLIENT KILL ID @i2
        s2: SET a 1
        r3: CLIENT TRACKINGINFO; CLIENT GETREDIR; CLIENT TRACKING on; CLIENT TRACKINGINFO; GET a
        s2: SET b 1; SET a 2
        r3: CLIENT TRACKING on REDIRECT @d2; CLIENT TRACKING on REDIRECT @r3; GET a
        s2: SET a 2
        r3: SET a 2; PING
    """,
    "RESP2 alone is not told": """
        r2: CLIENT TRACKING on; GET a; SET a 1
        s2: SET a 2; FLUSHALL
        r2: GET a; HELLO 3; GET b
        s2: SET a 2; SET b 1
        r2: GET a; HELLO 2
        s2: SET a 2
        r2: PING
    """,
    "one that begins anew": """
        k3: CLIENT TRACKING on
        r3: CLIENT TRACKING on NOLOOP; GET a; RESET; CLIENT TRACKINGINFO; HELLO 3; CLIENT TRACKINGINFO
        * info
        s2: SET a 1
        r3: CLIENT TRACKING on; GET a
        - r3
        s2: SET a 2
        * info
    """,
    "flags": """
        r2: CLIENT TRACKING on BCAST PREFIX a
        d2: CLIENT TRACKING on REDIRECT @i2
        * info
        - i2
        * info
        d2: GET a
        s2: SET a 1
        * info
    """,
    "loads": """
        r3: CLIENT TRACKING on; GET a
        s2: SET b 1; DEBUG RELOAD
        r3: PING
    """,
}
