"""Conversations about users, as text: what Redis's own suite asks of them (tests/unit/acl.tcl and acl-v2.tcl of 7.0).

A line is what a client says, `A: command; command`, and each command is answered before the next one is sent. The keys are the
names of the suite's tests: a conversation may stand for several, and `ELSEWHERE` tells which other tests of ours stand for the
rest.
"""

from __future__ import annotations

HASH = "34344e4d60c2b6d639b7bd22e18f2b0b91bc34bf0ac5f9952744435093cfb4e6"

# Of these, redis-server tells single commands in the order of a table that is another one at each start.
UNORDERED = {
    "ACLs can include single subcommands",
    "ACLs can block SELECT of all but a specific DB",
    "ACLs can block all DEBUG subcommands except one",
    "ACL GETUSER is able to translate back command permissions",
    "ACL GETUSER provides correct results",
}

OF_REDIS = {
    "connections start with the default user; it is possible to create new users; coverage: ACL USERS": """
        A: ACL WHOAMI; ACL SETUSER newuser; ACL USERS; ACL LIST
    """,
    "usernames can not contain spaces or null characters": """
        A: ACL SETUSER 'a a'; ACL SETUSER 'a\\0'; ACL SETUSER ''; ACL USERS
    """,
    "new users start disabled; enabling the user allows the login": """
        A: ACL SETUSER newuser >passwd1; AUTH newuser passwd1; ACL SETUSER newuser on +acl; AUTH newuser passwd1; ACL WHOAMI
    """,
    "only the set of correct passwords work; it is possible to remove passwords from the set of valid ones": """
        A: ACL SETUSER newuser on +acl >passwd1; ACL SETUSER newuser >passwd2; AUTH newuser passwd1; AUTH newuser passwd2
        A: AUTH newuser passwd3; ACL SETUSER newuser <passwd1; AUTH newuser passwd1; ACL SETUSER newuser <passwd1
    """,
    "test password hashes can be added; validate input; GETUSER returns the hash; hashed passwords removal": f"""
        A: ACL SETUSER newuser on +acl #{HASH}; AUTH newuser passwd4; ACL SETUSER newuser #{HASH[:-2]}
        A: ACL SETUSER newuser #{HASH[:-1]}q; ACL SETUSER newuser #{HASH.upper()}; ACL GETUSER newuser
        A: ACL SETUSER newuser !{HASH}; ACL GETUSER newuser; ACL SETUSER newuser !{HASH}; ACL SETUSER newuser !x
    """,
    "by default users are not able to access any command, nor any key": """
        A: ACL SETUSER newuser on nopass; AUTH newuser x; SET foo bar; AUTH default x; ACL SETUSER newuser +set; AUTH newuser x
        A: SET foo bar
    """,
    "it's possible to allow the access of a subset of keys": """
        A: ACL SETUSER newuser on nopass allcommands ~foo:* ~bar:*; AUTH newuser x; SET foo:1 a; SET bar:2 b; SET zap:3 c
        A: MSET foo:1 a zap:3 c; ACL SETUSER newuser allkeys; SET zap:3 c
    """,
    "by default, only default user is able to publish, or to subscribe to any channel, shard channel or pattern": """
        A: PUBLISH foo bar; SPUBLISH foo bar; ACL SETUSER psuser on >pspass +acl +client +@pubsub
        B: SUBSCRIBE foo; UNSUBSCRIBE; SSUBSCRIBE foo; SUNSUBSCRIBE; PSUBSCRIBE bar*; PUNSUBSCRIBE; AUTH psuser pspass
        B: PUBLISH foo bar; SPUBLISH foo bar; SUBSCRIBE foo; SSUBSCRIBE foo; PSUBSCRIBE bar*
    """,
    "it's possible to allow publishing to a subset of channels, and of shard channels": """
        A: ACL SETUSER psuser on nopass +acl +client +@pubsub resetchannels &foo:1 &bar:*; AUTH psuser x
        A: PUBLISH foo:1 m; PUBLISH bar:2 m; PUBLISH zap:3 m; SPUBLISH foo:1 m; SPUBLISH bar:2 m; SPUBLISH zap:3 m
    """,
    "validate subset of channels is prefixed with resetchannels flag": """
        A: ACL SETUSER hpuser on nopass resetchannels &foo +@all; ACL LIST; AUTH hpuser pass; PUBLISH foo bar; PUBLISH bar game
    """,
    "in transaction queue publish/subscribe/psubscribe to unauthorized channel will fail": """
        A: ACL SETUSER psuser on nopass +@pubsub +multi +discard resetchannels &foo:1 &bar:*; AUTH psuser x
        A: MULTI; PUBLISH notexits helloworld; DISCARD; MULTI; SUBSCRIBE notexits foo:1; DISCARD
        A: MULTI; PSUBSCRIBE notexits:* bar:*; DISCARD
    """,
    "it's possible to allow subscribing to a subset of channels, of shard channels, and of channel patterns": """
        A: ACL SETUSER psuser on nopass +@pubsub resetchannels &foo:1 &bar:*
        B: AUTH psuser x; SUBSCRIBE foo:1; SUBSCRIBE bar:2; SUBSCRIBE zap:3
        C: AUTH psuser x; SSUBSCRIBE foo:1; SSUBSCRIBE bar:2; SSUBSCRIBE zap:3
        D: AUTH psuser x; PSUBSCRIBE foo:1; PSUBSCRIBE bar:*; PSUBSCRIBE bar:baz
    """,
    "subscribers are killed when revoked of channel, of shard channel, of pattern, and of allchannels permission": """
        A: ACL SETUSER psuser on nopass +@all resetchannels &foo:1 &bar:*; ACL SETUSER all on nopass +@all allchannels
        B: AUTH psuser x; SUBSCRIBE foo:1
        C: AUTH psuser x; SSUBSCRIBE foo:1
        D: AUTH psuser x; PSUBSCRIBE bar:*
        E: AUTH all x; PSUBSCRIBE foo
        A: ACL SETUSER psuser resetchannels; ACL SETUSER all resetchannels
        B: PING
        C: PING
        D: PING
        E: PING
    """,
    "subscribers are pardoned if literal permissions are retained and/or gaining allchannels": """
        A: ACL SETUSER psuser on nopass +@all resetchannels &foo:1 &bar:* &orders
        B: AUTH psuser x; SUBSCRIBE foo:1; SSUBSCRIBE orders; PSUBSCRIBE bar:*
        A: ACL SETUSER psuser resetchannels &foo:1 &bar:* &orders &baz:qaz &zoo:*
        B: PING
        A: ACL SETUSER psuser allchannels
        B: PING
    """,
    "users can be configured to authenticate with any password; ACLs can exclude single commands": """
        A: ACL SETUSER newuser on nopass allkeys +@all; AUTH newuser zipzapblabla; ACL SETUSER newuser -ping
        A: INCR mycounter; PING
    """,
    "ACLs can include or exclude whole classes of commands": """
        A: ACL SETUSER newuser on nopass allkeys -@all +@set +acl; AUTH newuser x; SADD myset a b c
        A: ACL SETUSER newuser +@all -@string; SADD myset a b c; SET foo bar; ACL SETUSER newuser allcommands; SET foo bar
    """,
    "ACLs can include single subcommands": """
        A: ACL SETUSER newuser on nopass +@all -client; ACL SETUSER newuser +client|id +client|setname; ACL GETUSER newuser
        B: AUTH newuser x; CLIENT SETNAME foo; CLIENT KILL type master; CLIENT NOSUCH; CLIENT
    """,
    "ACLs can exclude single subcommands, case 1": """
        A: ACL SETUSER newuser on nopass +@all -client|kill; ACL GETUSER newuser; AUTH newuser x; CLIENT SETNAME foo
        A: CLIENT KILL type master
    """,
    "ACLs can exclude single subcommands, case 2": """
        A: ACL SETUSER newuser on nopass -@all +acl +config -config|set; AUTH newuser x; CONFIG GET loglevel
        A: CONFIG SET loglevel debug
    """,
    "ACLs cannot include a subcommand with a specific arg, nor a container command with a specific arg or two args": """
        A: ACL SETUSER newuser +@all -config|get; ACL SETUSER newuser +config|get|appendonly
        A: ACL SETUSER newuser +@all +config|get
        A: ACL SETUSER newuser +@all +config|asdf; ACL SETUSER newuser +@all -config|asdf
        A: ACL SETUSER newuser +@all +get|key1|key2; ACL SETUSER newuser +@all -get|key1|key2
    """,
    "ACLs including of a type includes also subcommands": """
        A: ACL SETUSER newuser on nopass allkeys -@all +del +acl +@stream; AUTH newuser x; DEL key; XADD key 1-1 field value
        A: XINFO STREAM key
    """,
    "ACLs can block SELECT of all but a specific DB": """
        A: ACL SETUSER newuser on nopass -@all +acl +select|0; ACL GETUSER newuser; AUTH newuser x; SELECT 0; SELECT 1
    """,
    "ACLs can block all DEBUG subcommands except one": """
        A: ACL SETUSER newuser on nopass allkeys -@all +acl +del +incr +debug|sleep; ACL GETUSER newuser; AUTH newuser x
        A: DEL key
        A: INCR key; DEBUG SLEEP 0; DEBUG SEGFAULT
    """,
    "ACLs set can include subcommands, if already full command exists": """
        A: ACL SETUSER bob +memory|doctor; ACL GETUSER bob; ACL SETUSER bob +memory; ACL GETUSER bob
        A: ACL SETUSER bob +@all +client|id; ACL GETUSER bob; ACL SETUSER bob >passwd1 on; AUTH bob passwd1; MEMORY HELP
    """,
    "ACLs set can exclude subcommands, if already full command exists": """
        A: ACL SETUSER alice +@all -memory|doctor; ACL GETUSER alice; ACL SETUSER alice >passwd1 on; AUTH alice passwd1
        A: MEMORY DOCTOR; MEMORY HELP; ACL SETUSER alice +@all -memory; ACL GETUSER alice; MEMORY DOCTOR; MEMORY STATS
        A: ACL SETUSER alice -@all; ACL GETUSER alice; AUTH default x; ACL GETUSER alice; AUTH alice passwd1; GET key
        A: MEMORY STATS
    """,
    "ACL SETUSER RESET reverting to default newly created user": """
        A: ACL SETUSER example; ACL LIST; ACL SETUSER example on >p ~a &b +get (+set ~c); ACL SETUSER example reset; ACL LIST
    """,
    "ACL GETUSER is able to translate back command permissions": """
        A: ACL SETUSER newuser reset +@all ~* -@string +incr -debug +debug|digest; ACL GETUSER newuser
        A: ACL SETUSER newuser reset +@string -incr +acl +debug|digest +debug|segfault; ACL GETUSER newuser
    """,
    "ACL GETUSER provides correct results": """
        A: ACL SETUSER adv-test; ACL SETUSER adv-test -@all; ACL GETUSER adv-test; ACL SETUSER adv-test -@string -@slow +@all
        A: ACL GETUSER adv-test; ACL SETUSER adv-test -@all +@HASH +@hash +@HaSh; ACL GETUSER adv-test
        A: ACL SETUSER adv-test -@all +HGET +hget +hGeT; ACL GETUSER adv-test
        A: ACL SETUSER adv-test -@all +hget -hset +hset -hget; ACL GETUSER adv-test
        A: ACL SETUSER adv-test -@all +client|list +client|list +config|get +config +acl|list -acl; ACL GETUSER adv-test
        A: ACL SETUSER adv-test -@all +select|0 +select|0 +debug|segfault +debug; ACL GETUSER adv-test
        A: ACL SETUSER adv-test -@all -@dangerous; ACL GETUSER adv-test
        A: ACL SETUSER adv-test -@all +config +config|get -config|set +config; ACL GETUSER adv-test
    """,
    "ACL CAT with illegal arguments": """
        A: ACL CAT NON_EXISTS; ACL CAT NON_EXISTS NON_EXISTS2; ACL CAT ''
    """,
    "ACL requires explicit permission for scripting for EVAL_RO, EVALSHA_RO and FCALL_RO": """
        A: ACL SETUSER scripter on nopass +readonly; ACL SETUSER scripter on nopass +@read
        A: ACL DRYRUN scripter EVAL_RO '' 0; ACL DRYRUN scripter EVALSHA_RO '' 0; ACL DRYRUN scripter FCALL_RO '' 0
    """,
    "ACL #5998 regression: memory leaks adding / removing subcommands": """
        A: ACL SETUSER newuser reset -debug +debug|a +debug|b +debug|c; ACL SETUSER newuser -debug; ACL GETUSER newuser
    """,
    "ACL LOG shows failed command executions at toplevel; is able to test similar events; keys and channels; RESET": """
        A: ACL SETUSER antirez >foo on +set ~object:1234 +eval +multi +exec resetchannels +publish; AUTH antirez foo; GET foo
        A: AUTH default x; ACL LOG; AUTH antirez foo; GET foo; GET foo; AUTH default x; ACL LOG; AUTH antirez foo
        A: SET somekeynotallowed 1234; AUTH default x; ACL LOG; AUTH antirez foo; PUBLISH somechannelnotallowed nullmsg
        A: AUTH default x; ACL LOG; ACL LOG RESET; ACL LOG
    """,
    "ACL LOG shows failed subcommand executions at toplevel": """
        A: ACL SETUSER demo on nopass; AUTH demo x; SCRIPT HELP; AUTH default x; ACL LOG
    """,
    "ACL LOG can distinguish the transaction context (1) and (2)": """
        A: ACL SETUSER antirez >foo on +set ~object:1234 +multi +exec; AUTH antirez foo; MULTI; INCR foo; EXEC; AUTH default x
        A: ACL LOG; ACL SETUSER antirez +incr; AUTH antirez foo; MULTI; INCR object:1234
        B: ACL SETUSER antirez -incr
        A: EXEC; AUTH default x; ACL LOG
    """,
    "ACL can log errors in the context of Lua scripting; ACL LOG can accept a numerical argument to show less entries": """
        A: ACL SETUSER antirez >foo on +set ~object:1234 +eval +multi +exec; AUTH antirez foo
        A: EVAL "redis.call('incr','foo')" 0; AUTH default x; ACL LOG; AUTH antirez foo; INCR foo; INCR foo; GET foo
        A: AUTH default x; ACL LOG; ACL LOG 2; ACL LOG 0; ACL LOG 10
    """,
    "ACL LOG can log failed auth attempts; ACL LOG aggregates similar errors together": """
        A: ACL SETUSER antirez >foo; AUTH antirez wrong-password; ACL LOG; AUTH antirez wrong-password; AUTH antirez foo
        A: ACL LOG
        A: ACL SETUSER user2 >doo; AUTH user2 foo; ACL LOG
    """,
    "ACL LOG entries are limited to a maximum amount; still present on update of max len config; zero max length": """
        A: ACL SETUSER antirez >foo on +set ~object:1234; CONFIG SET acllog-max-len 5; AUTH antirez foo
        A: SET obj:1 1; SET obj:2 1; SET obj:3 1; SET obj:4 1; SET obj:5 1; SET obj:6 1; AUTH default x; ACL LOG
        A: CONFIG SET acllog-max-len 0; ACL LOG; ACL LOG RESET; AUTH antirez foo; SET obj:7 1; AUTH default x; ACL LOG
    """,
    "when default user is off, new connections are not authenticated": """
        A: ACL SETUSER default off
        B: PING; GET a; AUTH x; HELLO 2
        A: ACL SETUSER default on
        C: PING
        B: PING
    """,
    "when default user has no command permission, hello command still works for other users": """
        A: ACL SETUSER secure-user >supass on +@all; ACL SETUSER default -@all; HELLO 2 AUTH secure-user supass; ACL WHOAMI
    """,
    "when authentication fails in the HELLO cmd, the client setname should not be applied": """
        A: CLIENT SETNAME client0; HELLO 2 AUTH user pass setname client1; CLIENT GETNAME
    """,
    "ACL HELP should not have unexpected options": """
        A: ACL HELP xxx; ACL HELP
    """,
    "delete a user that the client doesn't use, and one that the client is using": """
        A: ACL SETUSER not_used on >passwd; ACL DELUSER not_used; PING; ACL SETUSER using on +acl >passwd; AUTH using passwd
        A: ACL DELUSER using; PING
    """,
    "ACL GENPASS command failed test": """
        A: ACL GENPASS -236; ACL GENPASS 5000; ACL GENPASS 0; ACL GENPASS x
    """,
    "default user can not be removed; ACL load non-existing configured ACL file": """
        A: ACL DELUSER default; ACL DELUSER nosuch default; ACL LOAD; ACL SAVE
    """,
    # acl-v2.tcl
    "test basic multiple selectors": """
        A: ACL SETUSER selector-1 on -@all resetkeys nopass
        B: AUTH selector-1 password; PING; SET write::foo bar; GET read::foo
        A: ACL SETUSER selector-1 '(+@write ~write::*)' '(+@read ~read::*)'
        B: PING; SET write::foo bar; GET read::foo; GET write::foo; SET read::foo bar
    """,
    "test ACL selectors by default have no permissions": """
        A: ACL SETUSER selector-default reset (); ACL GETUSER selector-default
    """,
    "test deleting selectors": """
        A: ACL SETUSER selector-del on '(~added-selector)'; ACL GETUSER selector-del; ACL SETUSER selector-del clearselectors
        A: ACL GETUSER selector-del
    """,
    "test selector syntax error reports the error in the selector context": """
        A: ACL SETUSER selector-syntax on (this-is-invalid); ACL SETUSER selector-syntax on '(&* &fail)'
        A: ACL SETUSER selector-syntax on '(allchannels &fail)'; ACL GETUSER selector-syntax
    """,
    "test flexible selector definition": """
        A: ACL SETUSER selector-2 '(~key1 +get )' '( ~key2 +get )' '( ~key3 +get)' '(~key4 +get)'
        A: ACL SETUSER selector-2 (~key5 +get ) ( ~key6 +get ) ( ~key7 +get) (~key8 +get); ACL GETUSER selector-2
        A: ACL SETUSER invalid-selector ' () '; ACL SETUSER invalid-selector (; ACL SETUSER invalid-selector )
    """,
    "test separate read permission": """
        A: ACL SETUSER key-permission-R on nopass %R~read* +@all; SET readstr bar
        B: AUTH key-permission-R password; PING; GET readstr; SET readstr bar; GET notread
    """,
    "test separate write permission": """
        A: ACL SETUSER key-permission-W on nopass %W~write* +@all
        B: AUTH key-permission-W password; PING; LPUSH writelist 10; GET writestr; LPUSH notwrite 10
    """,
    "test separate read and write permissions": """
        A: ACL SETUSER key-permission-RW on nopass %R~read* %W~write* +@all; SET read bar
        B: AUTH key-permission-RW password; PING; COPY read write; COPY write read
    """,
    "test separate read and write permissions on different selectors are not additive": """
        A: ACL SETUSER key-permission-RW-selector on nopass '(%R~read* +@all)' '(%W~write* +@all)'; SET readstr bar
        B: AUTH key-permission-RW-selector password; PING; LPUSH writelist 10; GET writestr; LPUSH notwrite 10; GET readstr
        B: SET readstr bar; GET notread; COPY read write; COPY write read
    """,
    "test ACL log correctly identifies the relevant item when selectors are used": """
        A: ACL SETUSER selective on nopass; ACL SETUSER selective +mget ~key '(+mget ~key ~otherkey)'
        B: AUTH selective password; GET key
        A: ACL LOG; ACL LOG RESET
        B: MGET otherkey someotherkey
        A: ACL LOG; ACL LOG RESET
        B: MGET key otherkey someotherkey
        A: ACL LOG
    """,
    "test ACL GETUSER response information; test R+W is the same as all permissions": """
        A: ACL SETUSER selector-info -@all +get resetchannels &channel1 %R~foo1 %W~bar1 ~baz1
        A: ACL SETUSER selector-info '(-@all +set resetchannels &channel2 %R~foo2 %W~bar2 ~baz2)'; ACL GETUSER selector-info
        A: ACL SETUSER selector-rw-info %R~foo %W~foo %RW~bar; ACL GETUSER selector-rw-info
    """,
    "test ACL list idempotency": """
        A: ACL SETUSER i off -@all +get resetchannels &channel1 %R~foo1 %W~bar1 ~baz1 '(-@all +set resetchannels &c2 %R~f ~z)'
        A: ACL LIST
    """,
    "test basic dry run functionality": """
        A: ACL SETUSER command-test +@all %R~read* %W~write* %RW~rw*; ACL DRYRUN command-test GET read
        A: ACL DRYRUN not-a-user GET read; ACL DRYRUN command-test not-a-command read
    """,
    "test various odd commands for key permissions: MIGRATE, SORT": """
        A: ACL SETUSER u +@all %R~read* %W~write* %RW~rw*; ACL DRYRUN u MIGRATE whatever whatever rw 0 5000
        A: ACL DRYRUN u MIGRATE whatever whatever read 0 5000; ACL DRYRUN u MIGRATE whatever whatever write 0 5000
        A: ACL DRYRUN u MIGRATE whatever whatever '' 0 5000 KEYS rw; ACL DRYRUN u MIGRATE whatever whatever '' 0 5000 KEYS read
        A: ACL DRYRUN u MIGRATE whatever whatever '' 0 5000 KEYS write; ACL DRYRUN u MIGRATE whatever whatever rw
        A: ACL DRYRUN u SORT read STORE write; ACL DRYRUN u SORT read STORE read; ACL DRYRUN u SORT write STORE write
    """,
    "test various odd commands for key permissions: EVAL, GEORADIUS": """
        A: ACL SETUSER u +@all %R~read* %W~write* %RW~rw*; ACL DRYRUN u EVAL '' 1 rw1; ACL DRYRUN u EVAL '' 1 read
        A: ACL DRYRUN u EVAL_RO '' 1 rw1; ACL DRYRUN u EVAL_RO '' 1 read; ACL DRYRUN u EVAL '' 0 read
        A: ACL DRYRUN u EVAL '' -1 read; ACL DRYRUN u EVAL '' 3 rw rw; ACL DRYRUN u EVAL '' 3 rw read
        A: ACL DRYRUN u GEORADIUS read 1 2 3 M STOREDIST write; ACL DRYRUN u GEORADIUS read 1 2 3 M
        A: ACL DRYRUN u GEORADIUS read1 1 2 3 M STOREDIST read2; ACL DRYRUN u GEORADIUS write1 1 2 3 M STOREDIST write2
        A: ACL DRYRUN u GEORADIUS read 1 2 3 M STORE write; ACL DRYRUN u GEORADIUS read1 1 2 3 M STORE read2
        A: ACL DRYRUN u GEORADIUS write1 1 2 3 M STORE write2
    """,
    "existence test commands are not marked as access": """
        A: ACL SETUSER u +@all %R~read* %W~write* %RW~rw*
        A: ACL DRYRUN u HEXISTS read foo; ACL DRYRUN u HEXISTS write foo; ACL DRYRUN u HEXISTS nothing foo
        A: ACL DRYRUN u HSTRLEN read foo; ACL DRYRUN u HSTRLEN write foo; ACL DRYRUN u HSTRLEN nothing foo
        A: ACL DRYRUN u SISMEMBER read foo; ACL DRYRUN u SISMEMBER write foo; ACL DRYRUN u SISMEMBER nothing foo
    """,
    "intersection cardinality commands are access commands": """
        A: ACL SETUSER u +@all %R~read* %W~write* %RW~rw*
        A: ACL DRYRUN u SINTERCARD 2 read read; ACL DRYRUN u SINTERCARD 2 write read; ACL DRYRUN u SINTERCARD 2 nothing read
        A: ACL DRYRUN u ZCOUNT read 0 1; ACL DRYRUN u ZCOUNT write 0 1; ACL DRYRUN u ZCOUNT nothing 0 1
        A: ACL DRYRUN u PFCOUNT read read; ACL DRYRUN u PFCOUNT write read; ACL DRYRUN u PFCOUNT nothing read
        A: ACL DRYRUN u ZINTERCARD 2 read read; ACL DRYRUN u ZINTERCARD 2 write read; ACL DRYRUN u ZINTERCARD 2 nothing read
    """,
    "test general keyspace commands require some type of permission to execute": """
        A: ACL SETUSER u +@all %R~read* %W~write* %RW~rw*; ACL DRYRUN u touch read; ACL DRYRUN u touch write
        A: ACL DRYRUN u touch rw; ACL DRYRUN u touch nothing; ACL DRYRUN u exists read; ACL DRYRUN u exists write
        A: ACL DRYRUN u exists rw; ACL DRYRUN u exists nothing; ACL DRYRUN u MEMORY USAGE read; ACL DRYRUN u MEMORY USAGE write
        A: ACL DRYRUN u MEMORY USAGE rw; ACL DRYRUN u MEMORY USAGE nothing; ACL DRYRUN u TYPE read; ACL DRYRUN u TYPE write
        A: ACL DRYRUN u TYPE rw; ACL DRYRUN u TYPE nothing
    """,
    "cardinality commands require some type of permission to execute": """
        A: ACL SETUSER u +@all %R~read* %W~write* %RW~rw*
        A: ACL DRYRUN u STRLEN read; ACL DRYRUN u STRLEN write; ACL DRYRUN u STRLEN rw; ACL DRYRUN u STRLEN nothing
        A: ACL DRYRUN u HLEN read; ACL DRYRUN u HLEN write; ACL DRYRUN u HLEN rw; ACL DRYRUN u HLEN nothing
        A: ACL DRYRUN u LLEN read; ACL DRYRUN u LLEN write; ACL DRYRUN u LLEN rw; ACL DRYRUN u LLEN nothing
        A: ACL DRYRUN u SCARD read; ACL DRYRUN u SCARD write; ACL DRYRUN u SCARD rw; ACL DRYRUN u SCARD nothing
        A: ACL DRYRUN u ZCARD read; ACL DRYRUN u ZCARD write; ACL DRYRUN u ZCARD rw; ACL DRYRUN u ZCARD nothing
        A: ACL DRYRUN u XLEN read; ACL DRYRUN u XLEN write; ACL DRYRUN u XLEN rw; ACL DRYRUN u XLEN nothing
    """,
    "test sharded channel permissions": """
        A: ACL SETUSER c +@all resetchannels &channel; ACL DRYRUN c spublish channel foo; ACL DRYRUN c ssubscribe channel
        A: ACL DRYRUN c sunsubscribe; ACL DRYRUN c sunsubscribe channel; ACL DRYRUN c sunsubscribe otherchannel
        A: ACL DRYRUN c spublish otherchannel foo; ACL DRYRUN c ssubscribe otherchannel foo
    """,
}

# Of the suite of 7.2: 7.0.15 has logged in and given names up to the word that is wrong. Here, a HELLO that fails has done
# nothing. The reply to each command follows it.
OF_LATER = {
    "when an authentication chain is used in the HELLO cmd, the last auth cmd has precedence": """
        A: ACL SETUSER secure-user1 >supass on +@all => +OK
        A: ACL SETUSER secure-user2 >supass on +@all => +OK
        A: HELLO 2 AUTH secure-user pass AUTH secure-user2 supass AUTH secure-user1 supass => *14
        A: ACL WHOAMI => $12
        A: HELLO 2 AUTH secure-user supass AUTH secure-user2 supass AUTH secure-user pass => -WRONGPASS
        A: ACL WHOAMI => $12
        A: RESET => +RESET
        A: HELLO 2 AUTH secure-user1 supass NOSUCH => -ERR Syntax error in HELLO option 'NOSUCH'
        A: ACL WHOAMI => $7
    """,
    "when a setname chain is used in the HELLO cmd, the last setname cmd has precedence": """
        A: HELLO 2 setname client1 setname client2 setname client3 setname client4 => *14
        A: CLIENT GETNAME => $7 client4
        A: HELLO 2 setname client5 setname client6 setname 'client name' => -ERR Client names cannot contain spaces
        A: CLIENT GETNAME => $7 client4
    """,
}

# The lines of the file that these are held with.
FILE = (
    "user alice on allcommands allkeys &* >alice",
    "user bob on -@all +@set +acl ~set* &* >bob",
    "user carol on (+get ~rw*)",
    "user dave on (+set %W~w*) (+get %R~r*)",
)

WITH_FILE = {
    "default: load from include file, can access any channels": """
        A: PUBLISH hello world; SUBSCRIBE foo; PSUBSCRIBE bar*; UNSUBSCRIBE; PUNSUBSCRIBE; PUBLISH hello world; ACL LIST
    """,
    "default: with config acl-pubsub-default allchannels, and resetchannels, after reset": """
        A: CONFIG SET acl-pubsub-default allchannels; ACL SETUSER default reset on nopass ~* +@all; PUBLISH hello world
        A: CONFIG SET acl-pubsub-default resetchannels; ACL SETUSER default reset on nopass ~* +@all; SUBSCRIBE foo
        A: PSUBSCRIBE bar*; PUBLISH hello world
    """,
    "Alice: can execute all command; Bob: just execute @set and acl command": """
        A: AUTH alice alice; ACL WHOAMI; SET key value; AUTH bob bob; ACL WHOAMI; SADD set 1 2 3; SET key value
    """,
    "ACL load and save": """
        A: ACL SETUSER eve +get allkeys >eve on; ACL SAVE; ACL LOAD; AUTH alice alice; SET key value
        B: AUTH eve eve; GET key; SET key value
        A: PING; ACL LIST
    """,
    "ACL load and save with restricted channels": """
        A: AUTH alice alice; ACL SETUSER harry on nopass resetchannels &test +@all ~*; ACL SAVE; ACL LOAD; PING
        B: AUTH harry anything; PUBLISH test bar; PUBLISH test1 bar
        C: ACL DELUSER harry; ACL SAVE; ACL LOAD; ACL USERS
        B: PING
    """,
    "ACL LOAD disconnects clients": """
        A: ACL SETUSER doug on nopass resetchannels &test* +@all ~*
        B: AUTH alice alice; SUBSCRIBE test1
        C: AUTH doug doug; SUBSCRIBE test1
        D: SUBSCRIBE test1
        A: ACL LOAD; PUBLISH test1 test-message
        B: PING
        C: PING
        D: PING
    """,
    "default user has access to all channels irrespective of flag; update acl-pubsub-default": """
        A: ACL GETUSER default; ACL GETUSER carol; CONFIG SET acl-pubsub-default allchannels; ACL SETUSER mydefault
        A: ACL GETUSER mydefault; CONFIG SET acl-pubsub-default resetchannels; ACL GETUSER mydefault; ACL GETUSER carol
    """,
    "single channel is valid; is not valid with allchannels": """
        A: ACL SETUSER onechannel &test; ACL GETUSER onechannel; ACL DELUSER onechannel
        A: CONFIG SET acl-pubsub-default allchannels
        A: ACL SETUSER onechannel &test; CONFIG SET acl-pubsub-default resetchannels
    """,
    "test behavior of loading ACLs": """
        A: ACL GETUSER carol; ACL GETUSER dave; ACL DRYRUN dave GET r; ACL DRYRUN dave GET w; ACL DRYRUN dave SET w x
    """,
}

# By file and a line of it.
ELSEWHERE = {
    "Subscribers are killed when revoked of channel permission (over the subscriber)": (
        "tests/wire/test_users.py", "def test_subscriber_that_takes_its_own_channels_away_has_the_reply",
    ),
    "blocked command gets rejected when reprocessed after permission change (7.2)": (
        "tests/wire/test_users.py", "def test_client_that_waits_and_may_not_use_its_key_any_more",
    ),
    "ACL GETUSER provides reasonable results": ("tests/wire/cases/acl.txt", "rules that are told by categories"),
    "ACL CAT without category - list all categories; ACL CAT category": (
        "tests/wire/test_users.py", "def test_categories_are_those_of_redis",
    ),
    "ACL load on replica when connected to replica": ("tests/wire/test_users.py", "def test_users_of_a_standby_are_its_own"),
    "default: load from config file, without channel permission default user can't access any channels; with all": (
        "tests/wire/test_users.py", "def test_default_user_of_a_configuration_has_the_channels_that_it_names",
    ),
    "Test loading an ACL file with duplicate users; with duplicate default user; with comments (8.0)": (
        "tests/wire/test_users.py", "def test_file_with_one_wrong_line_changes_nothing",
    ),
    "Test loading duplicate users in config on startup": ("tests/unit/acl/test_users.py", "Duplicate user found."),
    "ACL from config file and config rewrite": (
        "tests/wire/test_users.py", "def test_users_come_from_a_configuration_and_go_back_to_it",
    ),
}  # fmt: skip
