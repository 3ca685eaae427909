"""The server's exact bytes on a raw socket, compared with redis-server's wherever SPEC means the same.

A case is a byte string. Both servers get it on a fresh connection, then a marked ECHO, then a half-close:
what comes until the end of the file is the replies; the ECHO shows whether the connection was left open.
"""

from __future__ import annotations

import os
import random
import re
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from helpers.servers import (
    COMMON_OPTIONS,
    DEADLINE_S,
    ServerProcess,
    StartServer,
    Wire,
    encode,
    least_cost,
    parse,
    split_replies,
    wait_until,
)
from kvserver.engine.writer import COMMANDS_PER_RUN

MARK = b"<the connection was left open>"
MARK_REPLY = b"$%d\r\n%s\r\n" % (len(MARK), MARK)
MEGABYTE = 1 << 20
PROTOCOLS = (2, 3)
ANY_BYTES = bytes(range(256))

# Redis's limit for a line that has not ended: inline requests and the header lines of arrays.
LINE_LIMIT = 64 * 1024

SET_GET = encode("SET", "k", "v") + encode("GET", "k")


def in_one_run(*commands: bytes) -> bytes:
    """These, the last one again and again, as what the writer runs in one go, behind all that a server may be measuring."""
    return encode("PING") * COMMANDS_PER_RUN + b"".join(commands) + commands[-1] * (COMMANDS_PER_RUN - len(commands))


CASES: dict[str, bytes] = {
    # --- pipelines of commands that are alike
    "alike: sets": in_one_run(*(encode("SET", f"k{n}", "v" * n) for n in range(64)))
    + in_one_run(*(encode("GET", f"k{n}") for n in range(64))),
    "alike: gets of what is not there": in_one_run(encode("SET", "k", "v"), encode("GET", "k"))
    + in_one_run(encode("GET", "k"), encode("GET", "x")),
    "alike: gets, one of another arity": in_one_run(*[encode("GET", "k")] * 6, encode("GET"), encode("GET", "k")),
    "alike: sets, one with options": in_one_run(
        *[encode("SET", "k", "v")] * 6, encode("SET", "k", "w", "GET"), encode("SET", "k", "x")
    ),
    "alike: increments": in_one_run(encode("INCR", "n")),
    "alike: increments, all fail": in_one_run(encode("SET", "n", "x")) + in_one_run(encode("INCR", "n")),
    "alike: increments to the end": encode("SET", "n", 2**63 - 9) + in_one_run(encode("INCR", "n")) + encode("GET", "n"),
    "alike: in several spellings": in_one_run(*[encode("GET", "k"), encode("get", "k"), encode("Get", "k")] * 21)
    + in_one_run(encode("gEt", "k")),
    "alike: in a transaction": encode("MULTI") + in_one_run(encode("SET", "k", "v")) + encode("EXEC") + encode("GET", "k"),
    "alike: without replies": encode("CLIENT", "REPLY", "OFF")
    + in_one_run(encode("SET", "k", "v"))
    + encode("CLIENT", "REPLY", "ON"),
    "alike: as long as their headers are kept": b"".join(encode("SET", n, "x" * n) for n in range(4090, 4099))
    + in_one_run(*(encode("GET", n) for n in range(4089, 4100))),
    "alike: some have expired": b"".join(encode("SET", n, "x", "PXAT", 1 + n % 2 * 10**15) for n in range(8))
    + in_one_run(*(encode("GET", n) for n in range(8))),
    # --- connection
    "ping": encode("PING"),
    "ping with a message": encode("PING", "hello"),
    "ping with two messages": encode("PING", "a", "b"),
    "ping in lower case": encode("ping"),
    "ping in mixed case": encode("PiNg"),
    "echo": encode("ECHO", "hello"),
    "echo of nothing": encode("ECHO", ""),
    "echo of every byte": encode("ECHO", ANY_BYTES),
    "echo without an argument": encode("ECHO"),
    "echo with two arguments": encode("ECHO", "a", "b"),
    "quit": encode("QUIT"),
    "quit with commands behind": encode("PING") + encode("QUIT") + SET_GET,
    "quit with an argument": encode("QUIT", "now"),
    "quit inline with commands behind": b"QUIT\r\nPING\r\n",
    "reset": encode("RESET"),
    "reset goes back to resp2": encode("RESET") + encode("GET", "missing"),
    "reset forgets the name": encode("CLIENT", "SETNAME", "me") + encode("RESET") + encode("CLIENT", "GETNAME"),
    "reset with an argument": encode("RESET", "x"),
    "select 0": encode("SELECT", "0"),
    "select 1": encode("SELECT", "1"),
    "select a negative number": encode("SELECT", "-1"),
    "select no number": encode("SELECT", "x"),
    "select a number with a sign": encode("SELECT", "+0"),
    "select a number with a space": encode("SELECT", " 0"),
    "select a number with an underscore": encode("SELECT", "0_0"),
    "select a huge number": encode("SELECT", "99999999999999999999"),
    "select without an argument": encode("SELECT"),
    "hello with an unknown version": encode("HELLO", "9"),
    "hello with version 1": encode("HELLO", "1"),
    "hello with no number": encode("HELLO", "x"),
    "hello with an empty version": encode("HELLO", ""),
    "hello with a signed version": encode("HELLO", "+3"),
    "hello with setname but no name": encode("HELLO", "3", "SETNAME"),
    "hello with half of auth": encode("HELLO", "3", "AUTH", "default"),
    "hello with an unknown option": encode("HELLO", "3", "NOSUCH"),
    "hello with a bad name": encode("HELLO", "3", "SETNAME", "a b"),
    "hello with an unknown version and options": encode("HELLO", "4", "SETNAME", "me"),
    "hello with a wrong user": encode("HELLO", "3", "AUTH", "nobody", "secret"),
    "a refused hello leaves the protocol": encode("HELLO", "9") + encode("GET", "missing"),
    "auth without a configured password": encode("AUTH", "secret"),
    "auth of the default user": encode("AUTH", "default", "secret"),
    "auth of an unknown user": encode("AUTH", "nobody", "secret"),
    "auth without arguments": encode("AUTH"),
    "auth with three arguments": encode("AUTH", "a", "b", "c"),
    # --- client
    "client without a subcommand": encode("CLIENT"),
    "client with an unknown subcommand": encode("CLIENT", "NOSUCH"),
    "client with an unknown subcommand and arguments": encode("CLIENT", "NoSuch", "a", "b"),
    "client with an unknown subcommand of odd bytes": encode("CLIENT", b"\xff\r\n'x"),
    "client maintenance notifications": encode("CLIENT", "MAINT_NOTIFICATIONS", "ON"),
    "client id with an argument": encode("CLIENT", "ID", "x"),
    "client getname at first": encode("CLIENT", "GETNAME"),
    "client setname then getname": encode("CLIENT", "SETNAME", "me") + encode("CLIENT", "GETNAME"),
    "client setname to nothing": encode("CLIENT", "SETNAME", "me")
    + encode("CLIENT", "SETNAME", "")
    + encode("CLIENT", "GETNAME"),
    "client setname with a space": encode("CLIENT", "SETNAME", "a b") + encode("CLIENT", "GETNAME"),
    "client setname with a newline": encode("CLIENT", "SETNAME", "a\nb"),
    "client setname with a high byte": encode("CLIENT", "SETNAME", b"a\xff"),
    "client setname without a name": encode("CLIENT", "SETNAME"),
    "client getname with an argument": encode("CLIENT", "GETNAME", "x"),
    "client subcommands in lower case": encode("client", "setname", "me") + encode("client", "getname"),
    "client info with an argument": encode("CLIENT", "INFO", "x"),
    "client list with an unknown type": encode("CLIENT", "LIST", "TYPE", "nosuch"),
    "client list with type but no value": encode("CLIENT", "LIST", "TYPE"),
    "client list with a bad id": encode("CLIENT", "LIST", "ID", "x"),
    "client list with an unused id": encode("CLIENT", "LIST", "ID", "999999999"),
    "client list with an unknown option": encode("CLIENT", "LIST", "NOSUCH"),
    # --- strings and keys
    "set and get": SET_GET,
    "set replaces": encode("SET", "k", "1") + encode("SET", "k", "2") + encode("GET", "k"),
    "get of a missing key": encode("GET", "missing"),
    "get without a key": encode("GET"),
    "get with two keys": encode("GET", "a", "b"),
    "set without a value": encode("SET", "k"),
    "set without anything": encode("SET"),
    "set with an unknown option": encode("SET", "k", "v", "NOSUCH") + encode("GET", "k"),
    "set with ex but no time": encode("SET", "k", "v", "EX") + encode("EXISTS", "k"),
    "set with nx and xx": encode("SET", "k", "v", "NX", "XX"),
    "set with ex and px": encode("SET", "k", "v", "EX", "10", "PX", "10"),
    "set with keepttl and ex": encode("SET", "k", "v", "KEEPTTL", "EX", "10"),
    "set with an empty option": encode("SET", "k", "v", ""),
    "set with an option of odd bytes": encode("SET", "k", "v", b"\xff\xfe"),
    "empty key and value": encode("SET", "", "") + encode("GET", "") + encode("EXISTS", ""),
    "value of every byte": encode("SET", "k", ANY_BYTES) + encode("GET", "k"),
    "key of every byte": encode("SET", ANY_BYTES, "v") + encode("GET", ANY_BYTES) + encode("EXISTS", ANY_BYTES),
    "key that is no utf-8": encode("SET", b"\xff\xfe\x80", b"\xc0\x80") + encode("GET", b"\xff\xfe\x80"),
    "key of an encoded surrogate": encode("SET", b"\xed\xa0\x80", b"\xed\xbf\xbf") + encode("GET", b"\xed\xa0\x80"),
    "keys that differ in a byte that is no utf-8": encode("SET", b"\xff", "1")
    + encode("SET", b"\xfe", "2")
    + encode("GET", b"\xff")
    + encode("GET", b"\xfe")
    + encode("DBSIZE"),
    "value that looks like json": encode("SET", "k", '{"a": 1.0}') + encode("GET", "k"),
    "value that looks like a tag": encode("SET", "k", '{"$bytes":"AA=="}') + encode("GET", "k"),
    "key that looks like a tag": encode("SET", "$bytes:AA==", "v") + encode("GET", "$bytes:AA==") + encode("DBSIZE"),
    "value with a nul": encode("SET", "k", b"a\0b") + encode("GET", "k"),
    "value with resp inside": encode("SET", "k", SET_GET) + encode("GET", "k"),
    "big value": encode("SET", "k", b"x" * MEGABYTE) + encode("GET", "k"),
    "big value of odd bytes": encode("SET", "k", ANY_BYTES * 2048) + encode("GET", "k"),
    "big key": encode("SET", b"k" * 100_000, "v") + encode("GET", b"k" * 100_000),
    "del without a key": encode("DEL"),
    "del of a missing key": encode("DEL", "missing"),
    "del of many keys": SET_GET + encode("SET", "l", "v") + encode("DEL", "k", "m", "l", "k") + encode("DBSIZE"),
    "del of ten thousand keys": SET_GET + encode("DEL", *range(10_000), "k"),
    "exists without a key": encode("EXISTS"),
    "exists counts a key twice": SET_GET + encode("EXISTS", "k", "k", "missing"),
    "exists of ten thousand keys": SET_GET + encode("EXISTS", *range(10_000), "k"),
    "dbsize": SET_GET + encode("DBSIZE"),
    "dbsize with an argument": encode("DBSIZE", "x"),
    "flushall": SET_GET + encode("FLUSHALL") + encode("GET", "k") + encode("DBSIZE"),
    "flushall sync": SET_GET + encode("FLUSHALL", "SYNC") + encode("DBSIZE"),
    "flushall async": SET_GET + encode("FLUSHALL", "async") + encode("DBSIZE"),
    "flushall with an unknown option": SET_GET + encode("FLUSHALL", "NOSUCH") + encode("DBSIZE"),
    "flushall with two options": encode("FLUSHALL", "SYNC", "ASYNC"),
    "flushdb": SET_GET + encode("FLUSHDB") + encode("DBSIZE"),
    "flushdb async": SET_GET + encode("FLUSHDB", "ASYNC") + encode("DBSIZE"),
    "flushdb with an unknown option": SET_GET + encode("FLUSHDB", "NOSUCH") + encode("DBSIZE"),
    "unlink of many keys": SET_GET + encode("UNLINK", "k", "m", "k") + encode("DBSIZE"),
    "unlink without a key": encode("UNLINK"),
    "touch counts a key twice": SET_GET + encode("TOUCH", "k", "k", "missing"),
    "touch without a key": encode("TOUCH"),
    "rename": SET_GET + encode("RENAME", "k", "l") + encode("GET", "k") + encode("GET", "l"),
    "rename keeps the expiry": encode("SET", "k", "v", "PXAT", 33_000_000_000_000)
    + encode("SET", "l", "w")
    + encode("RENAME", "k", "l")
    + encode("PEXPIRETIME", "l")
    + encode("GET", "l")
    + encode("DBSIZE"),
    "rename drops the expiry of what was there": SET_GET
    + encode("SET", "l", "w", "EX", 100)
    + encode("RENAME", "k", "l")
    + encode("TTL", "l"),
    "rename to itself": SET_GET + encode("RENAME", "k", "k") + encode("GET", "k"),
    "rename of a missing key": encode("RENAME", "missing", "k"),
    "rename of a missing key to itself": encode("RENAME", "missing", "missing"),
    "rename with one key": encode("RENAME", "k"),
    "renamenx": SET_GET + encode("RENAMENX", "k", "l") + encode("GET", "l"),
    "renamenx to a key that is there": SET_GET + encode("SET", "l", "w") + encode("RENAMENX", "k", "l") + encode("GET", "l"),
    "renamenx to itself": SET_GET + encode("RENAMENX", "k", "k"),
    "renamenx of a missing key": encode("RENAMENX", "missing", "k"),
    "copy": SET_GET + encode("COPY", "k", "l") + encode("GET", "l") + encode("GET", "k"),
    "copy keeps the expiry": encode("SET", "k", "v", "PXAT", 33_000_000_000_000)
    + encode("COPY", "k", "l")
    + encode("PEXPIRETIME", "l"),
    "copy onto a key": SET_GET + encode("SET", "l", "w") + encode("COPY", "k", "l") + encode("GET", "l"),
    "copy onto a key with replace": SET_GET
    + encode("SET", "l", "w", "EX", 9)
    + encode("COPY", "k", "l", "replace")
    + encode("GET", "l")
    + encode("TTL", "l"),
    "copy of a missing key": SET_GET + encode("COPY", "missing", "k", "REPLACE") + encode("GET", "k"),
    "copy to itself": SET_GET + encode("COPY", "k", "k"),
    "copy of a missing key to itself": encode("COPY", "missing", "missing"),
    "copy within database 0": SET_GET + encode("COPY", "k", "l", "DB", 0, "REPLACE") + encode("GET", "l"),
    "copy to database 1": SET_GET + encode("COPY", "k", "l", "DB", 1),
    "copy to no database": SET_GET + encode("COPY", "k", "l", "DB", "x"),
    "copy to a database beyond all": SET_GET + encode("COPY", "k", "l", "DB", 99999999999),
    "copy with db but no number": SET_GET + encode("COPY", "k", "l", "DB"),
    "copy with an unknown option": SET_GET + encode("COPY", "k", "l", "NOSUCH"),
    "copy with one key": encode("COPY", "k"),
    "move to the same database": SET_GET + encode("MOVE", "k", 0),
    "move to database 1": SET_GET + encode("MOVE", "k", 1),
    "move to no database": SET_GET + encode("MOVE", "k", "x"),
    "move to a database beyond all": encode("MOVE", "k", -99999999999),
    "move of a missing key": encode("MOVE", "missing", 0),
    "swapdb of itself": SET_GET + encode("SWAPDB", 0, 0) + encode("GET", "k"),
    "swapdb with database 1": encode("SWAPDB", 0, 1),
    "swapdb of no database": encode("SWAPDB", "x", 0) + encode("SWAPDB", 0, "x") + encode("SWAPDB", 0, 99999999999),
    # --- expiry
    # Not by TTL, which rounds: it is another half a second later.
    "expire": SET_GET + encode("EXPIRE", "k", 100) + encode("EXPIRE", "k", 50, "GT") + encode("EXPIRE", "k", 150, "LT"),
    "pexpire": SET_GET + encode("PEXPIRE", "k", 100_000) + encode("EXPIRE", "k", 50, "GT") + encode("EXPIRE", "k", 150, "LT"),
    "ttl": SET_GET + encode("PEXPIRE", "k", 100_499) + encode("TTL", "k"),
    "expireat": SET_GET + encode("EXPIREAT", "k", 33_000_000_000) + encode("EXPIRETIME", "k") + encode("PEXPIRETIME", "k"),
    "pexpireat": SET_GET
    + encode("PEXPIREAT", "k", 33_000_000_000_499)
    + encode("EXPIRETIME", "k")
    + encode("PEXPIRETIME", "k")
    + encode("PEXPIREAT", "k", 33_000_000_000_500)
    + encode("EXPIRETIME", "k"),
    "times of a missing key": b"".join(encode(name, "missing") for name in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME")),
    "times of a key without an expiry": SET_GET
    + b"".join(encode(name, "k") for name in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME")),
    "times without a key": b"".join(encode(name) for name in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "PERSIST")),
    "expire of a missing key": b"".join(encode(name, "missing", 1) for name in ("EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT")),
    "expire without a time": b"".join(encode(name, "k") for name in ("EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT")),
    "expire in the past": b"".join(
        SET_GET + encode(name, "k", time) + encode("EXISTS", "k")
        for name in ("EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT")
        for time in (0, -1, -10_000)
    ),
    "expire at the edges": b"".join(
        SET_GET + encode(name, "k", time) + encode("PEXPIRETIME", "k")
        for name in ("EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT")
        for time in (
            -(2**63),
            2**63 - 1,
            2**63,
            -(2**63) // 1000,
            -(2**63) // 1000 + 1,
            (2**63 - 1) // 1000,
            2**63 // 1000 + 1,
        )
        if not (name == "PEXPIRE" and time in (-(2**63) // 1000, (2**63 - 1) // 1000, 2**63 // 1000 + 1))
    ),
    "expire with a time that is no number": b"".join(
        encode("EXPIRE", "k", time) for time in ("x", "", "1.5", "+1", " 1", "1_0")
    ),
    "expire with conditions": b"".join(
        (encode("SET", "k", "v") if before is None else encode("SET", "k", "v", "PXAT", before))
        + encode("PEXPIREAT", "k", after, *conditions)
        + encode("PEXPIRETIME", "k")
        for before in (None, 33_000_000_000_000)
        for after in (33_000_000_000_000, 33_000_000_000_001, 32_999_999_999_999, 1)
        for conditions in (("NX",), ("XX",), ("gt",), ("LT",), ("XX", "GT"), ("lt", "xx"), ("NX", "NX"))
    ),
    "expire with conditions that contradict": b"".join(
        SET_GET + encode("EXPIRE", "k", 1, *conditions)
        for conditions in (("NX", "XX"), ("NX", "GT"), ("LT", "NX"), ("GT", "LT"), ("XX", "GT", "LT"), ("NX", "GT", "LT"))
    ),
    "expire with an unknown option": encode("EXPIRE", "k", 1, "NOSUCH") + encode("EXPIRE", "k", "x", "NX", "no such"),
    "persist": encode("SET", "k", "v", "EX", 100) + encode("PERSIST", "k") + encode("TTL", "k") + encode("PERSIST", "k"),
    "persist of a missing key": encode("PERSIST", "missing"),
    # --- finding keys
    "keys": SET_GET
    + encode("KEYS", "*")
    + encode("KEYS", "k")
    + encode("KEYS", "[k]")
    + encode("KEYS", "?")
    + encode("KEYS", "x*"),
    "keys of the empty key": encode("SET", "", "v") + encode("KEYS", "*") + encode("KEYS", "**") + encode("KEYS", ""),
    "keys without a pattern": encode("KEYS"),
    "keys of nothing": encode("KEYS", "*"),
    "randomkey": encode("RANDOMKEY") + SET_GET + encode("RANDOMKEY"),
    "randomkey with an argument": encode("RANDOMKEY", "k"),
    "scan of nothing": encode("SCAN", 0),
    "scan": SET_GET + encode("SCAN", 0) + encode("SCAN", 0, "MATCH", "k*", "COUNT", 5, "TYPE", "string"),
    "scan that finds nothing": SET_GET + encode("SCAN", 0, "MATCH", "x*") + encode("SCAN", 0, "TYPE", "hash"),
    "scan of a type of odd bytes": SET_GET + encode("SCAN", 0, "TYPE", b"\xff") + encode("SCAN", 0, "TYPE", "nosuch"),
    "scan of the empty type": SET_GET + encode("SCAN", 0, "TYPE", ""),
    "scan of a type in mixed case": SET_GET + encode("scan", 0, "type", "String"),
    "scan of the empty key": encode("SET", "", "v") + encode("SCAN", 0, "MATCH", "*") + encode("SCAN", 0, "MATCH", "**"),
    "scan with a cursor that is none": b"".join(
        encode("SCAN", cursor) for cursor in ("x", " 0", "0 ", "0x1", "1.5", "+", "-", 2**64, -(2**64), "1_0")
    ),
    "scan with a cursor without a key": b"".join(encode("SCAN", cursor) for cursor in ("", "+0", "-0", "000", 0)),
    "scan with a wrong count": b"".join(encode("SCAN", 0, "COUNT", count) for count in (0, -1, "x", 2**63, "")),
    "scan with an option without a value": b"".join(encode("SCAN", 0, name) for name in ("COUNT", "MATCH", "TYPE", "NOSUCH")),
    "scan with two counts": SET_GET + encode("SCAN", 0, "COUNT", "x", "COUNT", 0) + encode("SCAN", 0, "COUNT", 2, "COUNT", 99),
    "scan with a wrong cursor and a wrong count": encode("SCAN", "x", "COUNT", "x"),
    "scan without a cursor": encode("SCAN"),
    # --- object and memory
    "object encoding": b"".join(
        encode("SET", "k", value) + encode("OBJECT", "ENCODING", "k")
        for value in (
            *("", "v", "0", "12345", "-1", "-0", "01", "+1", "1.5", " 1", 2**63 - 1, 2**63, -(2**63), -(2**63) - 1),
            *("x" * 44, "x" * 45, "1" * 20, "1" * 21, b"\xff", "9" * 44, "9" * 45),
        )
    ),
    "object refcount": b"".join(
        encode("SET", "k", value) + encode("OBJECT", "REFCOUNT", "k")
        for value in ("v", "", 0, 1, 9999, 10000, -1, "01", 2**63 - 1)
    ),
    **{
        f"object behind {commands}": b"".join(encode(*command.split(" ")) for command in commands.split("; "))
        + b"".join(encode("OBJECT", name, "k") for name in ("ENCODING", "REFCOUNT"))
        + (encode("GET", "k") + encode("MGET", "k", "k") + encode("GET", "k")) * 2
        for commands in (
            *(
                "APPEND k 5",
                "APPEND k ab",
                "APPEND k ",
                "SET k 5; APPEND k 1",
                "SET k 5; APPEND k ",
                "SET k 5; APPEND k 1; INCR k",
            ),
            *("SETRANGE k 0 5", "SET k 5; SETRANGE k 0 5", "SET k 5; SETRANGE k 0 ", "SETRANGE k 0 ab; SET k 5"),
            *("SETBIT k 0 1", "SET k 5; SETBIT k 0 0", "SET k 5; SETBIT k 7 1", "SET k 5; GETBIT k 7"),
            *("SET k 5; BITFIELD k SET u8 0 53", "SET k 5; BITFIELD k GET u8 0", "BITFIELD k OVERFLOW FAIL INCRBY u8 0 256"),
            *("SET k 5; BITFIELD k OVERFLOW FAIL INCRBY u8 0 256", "SET k abc; BITFIELD k GET u8 0 SET u8 0 97"),
            *("SET k 5; INCRBYFLOAT k 1", "SET k 5; INCRBYFLOAT k 1; INCR k", "INCRBYFLOAT k 100000", "INCRBYFLOAT k 1.5"),
            *("INCRBYFLOAT k 1e60", "INCRBYFLOAT a 5; COPY a k", "SETRANGE k 0 5; INCRBYFLOAT k 1", "SETRANGE k 0 5; DECR k"),
            *(
                "SET a 5; BITOP AND k a",
                "SETRANGE a 0 5; RENAME a k",
                "SETRANGE a 0 5; COPY a k",
                "SETRANGE k 0 5; GETSET k 5",
            ),
            *("SETRANGE k 0 5; EXPIRE k 100", "SETRANGE k 0 5; EXPIRE k 100; PERSIST k", "SETRANGE k 0 5; GETEX k EX 100"),
            *("SETRANGE k 0 5; MSET k 7", "SETRANGE k 0 5; SET k 7 KEEPTTL", "SET k 5 EX 100; SETBIT k 0 0"),
            *("SETRANGE k 0 5; DUMP k", "SETRANGE k 0 5; SET k 7 GET", "SETRANGE k 50 5", "SETRANGE k 0 5; COPY k l; DEL k"),
        )
    },
    "object of a missing key": b"".join(
        encode("OBJECT", name, "missing") for name in ("ENCODING", "REFCOUNT", "FREQ", "IDLETIME")
    ),
    "object idletime": SET_GET + encode("OBJECT", "IDLETIME", "k"),
    "object freq without counters": SET_GET + encode("OBJECT", "FREQ", "k"),
    "object with counters": encode("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    + SET_GET
    + encode("OBJECT", "IDLETIME", "k")
    + encode("SET", "l", "v")
    + encode("OBJECT", "FREQ", "l")
    + encode("CONFIG", "SET", "maxmemory-policy", "noeviction"),
    "object help": encode("OBJECT", "HELP") + encode("object", "help", "x"),
    "object with an unknown subcommand": encode("OBJECT", "NOSUCH") + encode("OBJECT", "NOSUCH", "k"),
    "object without arguments": encode("OBJECT") + encode("OBJECT", "ENCODING") + encode("OBJECT", "FREQ", "k", "l"),
    "memory usage of a missing key": encode("MEMORY", "USAGE", "missing") + encode("MEMORY", "USAGE", "missing", "SAMPLES", 0),
    "memory usage with wrong samples": b"".join(
        encode("MEMORY", "USAGE", "missing", *words)
        for words in (
            ("SAMPLES",),
            ("SAMPLES", -1),
            ("SAMPLES", "x"),
            ("NOSUCH", 1),
            ("SAMPLES", 1, "SAMPLES"),
            ("samples", 1, "x"),
        )
    ),
    "memory without arguments": encode("MEMORY") + encode("MEMORY", "USAGE") + encode("MEMORY", "STATS", "x"),
    "memory with an unknown subcommand": encode("MEMORY", "NOSUCH"),
    "memory help": encode("MEMORY", "HELP"),
    "memory doctor of a server without data": encode("MEMORY", "DOCTOR"),
    "memory purge": encode("MEMORY", "PURGE"),
    # --- the limit of memory
    "no room": SET_GET
    + encode("CONFIG", "SET", "maxmemory", 1)
    + b"".join(
        encode(*words)
        for words in (
            *(
                ("SET", "k", "w"),
                ("SET", "k"),
                ("COPY", "k", "l"),
                ("APPEND", "k", "w"),
                ("INCR", "k"),
                ("RESTORE", "l", 0, "x"),
            ),
            *(
                ("GET", "k"),
                ("EXPIRE", "k", 100),
                ("PERSIST", "k"),
                ("RENAME", "k", "l"),
                ("DEL", "l"),
                ("SET", "k", "v"),
                ("PING",),
            ),
        )
    )
    + encode("CONFIG", "SET", "maxmemory", 0)
    + SET_GET,
    "no room, and nothing to let go": SET_GET
    + encode("CONFIG", "SET", "maxmemory", 1, "maxmemory-policy", "volatile-lru")
    + encode("SET", "k", "w")
    + encode("GET", "k")
    + encode("CONFIG", "SET", "maxmemory", 0, "maxmemory-policy", "noeviction"),
    "no room, and nothing left": SET_GET
    + encode("CONFIG", "SET", "maxmemory", 1, "maxmemory-policy", "allkeys-random")
    + encode("SET", "l", "w")
    + encode("DBSIZE")
    + encode("CONFIG", "SET", "maxmemory", 0, "maxmemory-policy", "noeviction"),
    "config of the limit": encode("CONFIG", "GET", "maxmemory-s*")
    + encode("CONFIG", "GET", "maxmemory-policy")
    + encode("CONFIG", "GET", "maxmemory")
    + encode("CONFIG", "GET", "lfu-decay-time")
    + encode("CONFIG", "GET", "maxmemory-eviction-tenacity")
    + encode("CONFIG", "SET", "maxmemory", "2gb")
    + encode("CONFIG", "GET", "maxmemory")
    + encode("CONFIG", "SET", "maxmemory", "0"),
    "config of the limit, wrong": b"".join(
        encode("CONFIG", "SET", name, value)
        for name, value in (
            *(("maxmemory", "x"), ("maxmemory", -1), ("maxmemory-policy", "lru"), ("maxmemory-samples", 0)),
            *(
                ("maxmemory-samples", 2**31),
                ("maxmemory-eviction-tenacity", 101),
                ("lfu-log-factor", -1),
                ("lfu-decay-time", "x"),
            ),
        )
    ),
    # --- strings, counters, bits: the cases that test_differential may not meet in its usual count
    "set nx get of a key that is there": SET_GET + encode("SET", "k", "w", "NX", "GET") + encode("GET", "k"),
    "set xx get of a missing key": encode("SET", "k", "w", "XX", "GET") + encode("EXISTS", "k"),
    "set with a time that is none": encode("SET", "k", "v", "EX", "x") + encode("SET", "k", "v", "PX", "0"),
    "set with a time that overflows": encode("SET", "k", "v", "EX", 2**63 - 1) + encode("SET", "k", "v", "PX", 2**63 - 1),
    "set with a wrong time and a wrong option": encode("SET", "k", "v", "EX", "0", "NOSUCH"),
    "setex with a wrong time": encode("SETEX", "k", "0", "v") + encode("PSETEX", "k", "x", "v"),
    "getex with a wrong time": SET_GET + encode("GETEX", "k", "EX", "0") + encode("GETEX", "missing", "EX", "0"),
    "mset with an odd count": encode("MSET", "a", "1", "b") + encode("MSETNX", "a", "1", "b"),
    "mget of some": SET_GET + encode("MGET", "k", "missing", "k"),
    "incr to the end": encode("SET", "k", 2**63 - 2) + encode("INCR", "k") + encode("INCR", "k") + encode("GET", "k"),
    "decr to the end": encode("SET", "k", -(2**63)) + encode("DECR", "k") + encode("DECRBY", "k", -(2**63)),
    "incr of no integer": b"".join(encode("SET", "k", text) + encode("INCR", "k") for text in ("01", "+1", " 1", "1_0", "-0")),
    "incrbyfloat": encode("SET", "k", "10.50") + encode("INCRBYFLOAT", "k", "0.1") + encode("INCRBYFLOAT", "k", "-1.1e3"),
    "incrbyfloat to infinity": encode("INCRBYFLOAT", "k", "1e4932") + encode("INCRBYFLOAT", "k", "1e4932"),
    "incrbyfloat of a wrong number": encode("INCRBYFLOAT", "k", "nan") + encode("INCRBYFLOAT", "k", "1e5000"),
    "setrange beyond the limit": encode("SETRANGE", "k", 512 * MEGABYTE, "x") + encode("SETRANGE", "k", 2**63 - 1, "x"),
    "setrange before the start": encode("SETRANGE", "k", "-1", ""),
    "setbit beyond the limit": encode("SETBIT", "k", 2**32, "1") + encode("SETBIT", "k", "1", "2") + encode("EXISTS", "k"),
    "bitcount of a missing key with anything": encode("BITCOUNT", "k", "x") + encode("BITCOUNT", "k", "0", "1", "NOSUCH"),
    "bitpos without an end": encode("SET", "k", b"\xff\xff") + encode("BITPOS", "k", 0, 1) + encode("BITPOS", "k", 0, 0, -1),
    "bitop of nothing": SET_GET + encode("BITOP", "AND", "k", "missing") + encode("EXISTS", "k"),
    "bitop not of two": encode("BITOP", "NOT", "k", "a", "b"),
    "bitfield with every overflow": b"".join(
        encode("BITFIELD", "k", "OVERFLOW", how, "INCRBY", "u2", 100, 1, "GET", "u4", "#0") * 5
        for how in ("WRAP", "SAT", "FAIL")
    ),
    "bitfield of a wrong type": encode("BITFIELD", "k", "GET", "u64", 0) + encode("BITFIELD_RO", "k", "SET", "u8", 0, 1),
    "lcs": encode("MSET", "a", "ohmytext", "b", "mynewtext") + encode("LCS", "a", "b") + encode("LCS", "a", "b", "LEN"),
    "lcs with places": encode("MSET", "a", "ohmytext", "b", "mynewtext") + encode("LCS", "a", "b", "IDX", "WITHMATCHLEN"),
    "lcs with len and idx": encode("LCS", "a", "b", "IDX", "LEN"),
    "lcs of long strings": encode("SET", "a", "x" * 11_600) + encode("LCS", "a", "a", "LEN"),
    "dump": encode("SET", "k", "12345") + encode("DUMP", "k") + encode("DUMP", "missing"),
    # --- persistence
    "save": SET_GET + encode("SAVE"),
    "save with an argument": encode("SAVE", "x"),
    "bgsave with an unknown option": encode("BGSAVE", "NOSUCH"),
    "bgsave with two options": encode("BGSAVE", "SCHEDULE", "NOSUCH"),
    "lastsave with an argument": encode("LASTSAVE", "x"),
    "shutdown with an unknown option": encode("SHUTDOWN", "NOSUCH"),
    "shutdown with save and nosave": encode("SHUTDOWN", "SAVE", "NOSAVE"),
    "shutdown abort without a shutdown": encode("SHUTDOWN", "ABORT"),
    "shutdown abort with save": encode("SHUTDOWN", "ABORT", "SAVE"),
    "restore with a key only": encode("RESTORE", "k"),
    "restore without a payload": encode("RESTORE", "k", "0"),
    "restore of a bad payload": encode("RESTORE", "k", "0", "rubbish") + encode("DBSIZE"),
    "restore of an empty payload": encode("RESTORE", "k", "0", ""),
    "restore onto a key": SET_GET + encode("RESTORE", "k", "0", "rubbish") + encode("GET", "k"),
    "restore with replace of a bad payload": SET_GET + encode("RESTORE", "k", "0", "rubbish", "REPLACE") + encode("GET", "k"),
    "restore touches no other key": SET_GET + encode("RESTORE", "l", "0", "rubbish") + encode("GET", "k"),
    "restore with a bad ttl": encode("RESTORE", "k", "x", "rubbish"),
    "restore with a negative ttl": encode("RESTORE", "k", "-1", "rubbish"),
    "restore with an unknown option": encode("RESTORE", "k", "0", "rubbish", "NOSUCH"),
    "debug without a subcommand": encode("DEBUG"),
    "debug with an unknown subcommand": encode("DEBUG", "NOSUCH"),
    # --- config, command, info
    "config without a subcommand": encode("CONFIG"),
    "config with an unknown subcommand": encode("CONFIG", "NOSUCH", "x"),
    "config get without a name": encode("CONFIG", "GET"),
    "config get of an unknown name": encode("CONFIG", "GET", "nosuch"),
    "config get of an unknown pattern": encode("CONFIG", "GET", "nosuch*"),
    "config get of a number": encode("CONFIG", "GET", "timeout"),
    "config get in upper case": encode("CONFIG", "GET", "TIMEOUT"),
    "config get by a pattern": encode("CONFIG", "GET", "time[o]u?"),
    "config get of an empty text": encode("CONFIG", "GET", "save"),
    "config get of a yes or no": encode("CONFIG", "GET", "appendonly"),
    "config get of a choice": encode("CONFIG", "GET", "appendfsync"),
    "config get of a password that isn't set": encode("CONFIG", "GET", "requirepass"),
    "config get of clients": encode("CONFIG", "GET", "maxclients"),
    "config set without a name": encode("CONFIG", "SET"),
    "config set without a value": encode("CONFIG", "SET", "timeout"),
    "config set with an odd count": encode("CONFIG", "SET", "timeout", "0", "maxclients"),
    "config set of an unknown name": encode("CONFIG", "SET", "nosuch", "x"),
    "config set of no number": encode("CONFIG", "SET", "timeout", "x"),
    "config set of a number too small": encode("CONFIG", "SET", "timeout", "-1"),
    "config set of a number too big": encode("CONFIG", "SET", "timeout", "99999999999"),
    "config set of a wrong choice": encode("CONFIG", "SET", "appendfsync", "sometimes"),
    "config set and get": encode("CONFIG", "SET", "timeout", "300")
    + encode("CONFIG", "GET", "timeout")
    + encode("CONFIG", "SET", "timeout", "0"),
    "config set of one name twice": encode("CONFIG", "SET", "timeout", "1", "timeout", "2")
    + encode("CONFIG", "GET", "timeout"),
    "config set is all or nothing": encode("CONFIG", "SET", "timeout", "300", "appendfsync", "sometimes")
    + encode("CONFIG", "GET", "timeout"),
    "config set of where the data are": encode("CONFIG", "SET", "dir", "/")
    + encode("CONFIG", "SET", "dbfilename", "x")
    + encode("CONFIG", "SET", "logfile", "x")
    + encode("CONFIG", "SET", "unixsocket", "x"),
    "config set of a protected and an unknown name": encode("CONFIG", "SET", "nosuch", "x", "dir", "y")
    + encode("CONFIG", "SET", "dir", "y", "nosuch", "x"),
    "config get of several patterns": encode("CONFIG", "GET", "timeou?", "TIMEOUT", "timeout"),
    "config rewrite without a file": encode("CONFIG", "REWRITE"),
    "config rewrite with an argument": encode("CONFIG", "REWRITE", "x"),
    "config resetstat": encode("CONFIG", "RESETSTAT") + encode("CONFIG", "RESETSTAT", "x"),
    "config help": encode("CONFIG", "HELP"),
    "command help": encode("COMMAND", "HELP"),
    "command getkeys": encode("COMMAND", "GETKEYS", "DEL", "a", "b") + encode("COMMAND", "GETKEYS", "CONFIG", "GET", "x"),
    "command getkeys of no command": encode("COMMAND", "GETKEYS", "NOSUCH", "x") + encode("COMMAND", "GETKEYS"),
    "command getkeys of wrong arity": encode("COMMAND", "GETKEYS", "GET", "a", "b") + encode("COMMAND", "GETKEYS", "GET"),
    "command getkeysandflags": encode("COMMAND", "GETKEYSANDFLAGS", "SET", "a", "b")
    + encode("COMMAND", "GETKEYSANDFLAGS", "SET", "a", "b", "GET")
    + encode("COMMAND", "GETKEYSANDFLAGS", "DEL", "a", "b"),
    "command list filtered": encode("COMMAND", "LIST", "FILTERBY", "PATTERN", "nosuch*")
    + encode("COMMAND", "LIST", "FILTERBY", "MODULE", "x")
    + encode("COMMAND", "LIST", "FILTERBY", "ACLCAT", "nosuch")
    + encode("COMMAND", "LIST", "FILTERBY", "NOSUCH", "x")
    + encode("COMMAND", "LIST", "FILTERBY"),
    "command info of set": encode("COMMAND", "INFO", "set", "NOSUCH", "del"),
    "command docs of subcommands": encode("COMMAND", "DOCS", "command|list"),
    "command with an unknown subcommand": encode("COMMAND", "NOSUCH"),
    "command count with an argument": encode("COMMAND", "COUNT", "x"),
    "command info of an unknown name": encode("COMMAND", "INFO", "nosuch"),
    "command docs of an unknown name": encode("COMMAND", "DOCS", "nosuch"),
    "info of an unknown section": encode("INFO", "nosuch"),
    # On a busy machine some case before may have taken ten milliseconds.
    "slowlog": encode("CONFIG", "SET", "slowlog-log-slower-than", "-1")
    + encode("SLOWLOG", "RESET")
    + encode("SLOWLOG", "GET")
    + encode("SLOWLOG", "LEN")
    + encode("SLOWLOG", "RESET")
    + encode("SLOWLOG", "GET", "-1")
    + encode("SLOWLOG", "HELP"),
    "slowlog with wrong counts": encode("SLOWLOG", "GET", "-2")
    + encode("SLOWLOG", "GET", "x")
    + encode("SLOWLOG", "GET", "1", "2")
    + encode("SLOWLOG", "LEN", "x")
    + encode("SLOWLOG", "NOSUCH")
    + encode("SLOWLOG"),
    "latency without events": encode("LATENCY", "LATEST")
    + encode("LATENCY", "HISTORY", "command")
    + encode("LATENCY", "GRAPH", "command")
    + encode("LATENCY", "RESET")
    + encode("LATENCY", "RESET", "a", "b")
    + encode("LATENCY", "DOCTOR")
    + encode("LATENCY", "HISTOGRAM", "nosuch")
    + encode("LATENCY", "HELP"),
    "latency with wrong arguments": encode("LATENCY", "HISTORY") + encode("LATENCY", "NOSUCH") + encode("LATENCY"),
    "latency doctor with nothing to say": encode("CONFIG", "SET", "latency-monitor-threshold", "1000000")
    + encode("LATENCY", "DOCTOR")
    + encode("CONFIG", "SET", "latency-monitor-threshold", "0"),
    "acl": encode("ACL", "WHOAMI")
    + encode("ACL", "USERS")
    + encode("ACL", "LIST")
    + encode("ACL", "GETUSER", "default")
    + encode("ACL", "GETUSER", "nobody"),
    "acl with wrong arguments": encode("ACL", "CAT", "nosuch")
    + encode("ACL", "CAT", "a", "b")
    + encode("ACL", "WHOAMI", "x")
    + encode("ACL", "NOSUCH")
    + encode("ACL"),
    "role": encode("ROLE") + encode("ROLE", "x"),
    "time with an argument": encode("TIME", "x"),
    "lolwut of no version": encode("LOLWUT", "VERSION", "x"),
    "debug sleep": encode("DEBUG", "SLEEP", "0.01") + encode("DEBUG", "SLEEP", "x") + encode("DEBUG", "SLEEP"),
    "debug error": encode("DEBUG", "ERROR", "MINE a b") + encode("DEBUG", "ERROR") + encode("DEBUG", "ERROR", "a", "b"),
    "debug set-active-expire": encode("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    + encode("DEBUG", "SET-ACTIVE-EXPIRE", "1")
    + encode("DEBUG", "SET-ACTIVE-EXPIRE"),
    # --- unknown commands
    "unknown command": encode("NOSUCH"),
    "unknown command with arguments": encode("nosuch", "a", "b c", "d'e"),
    "unknown command with many arguments": encode("nosuch", *(f"argument{i}" for i in range(50))),
    "unknown command with a long argument": encode("nosuch", "a" * 500, "b"),
    "unknown command with a long name": encode("n" * 500, "a"),
    "unknown command with line ends": encode("no\r\nsuch", "a\r\nb", "c\nd"),
    "unknown command of high bytes": encode(b"\xff\xfe", b"\x80"),
    "unknown command of an empty name": encode("", "a"),
    "unknown command between good ones": encode("PING") + encode("NOSUCH") + encode("PING"),
    # --- request arrays
    "empty array": b"*0\r\n" + encode("PING"),
    "array of minus one": b"*-1\r\n" + encode("PING"),
    "array of minus ten": b"*-10\r\n" + encode("PING"),
    "array count is no number": b"*x\r\n",
    "array count is missing": b"*\r\n",
    "array count has a sign": b"*+1\r\n$4\r\nPING\r\n",
    "array count has a leading zero": b"*01\r\n$4\r\nPING\r\n",
    "array count has a space": b"* 1\r\n$4\r\nPING\r\n",
    "array count has a space behind": b"*1 \r\n$4\r\nPING\r\n",
    "array count has an underscore": b"*1_0\r\n$4\r\nPING\r\n",
    "array count is minus zero": b"*-0\r\n",
    "array count is a fraction": b"*1.0\r\n",
    "array count over 31 bits": b"*2147483648\r\n",
    "array count over 64 bits": b"*99999999999999999999\r\n",
    "array count at its greatest": b"*2147483647\r\n$4\r\nPING\r\n",
    "array count of a hundred million": b"*100000000\r\n$4\r\nPING\r\n",
    "array count line is too long": b"*" + b"1" * (3 * LINE_LIMIT),
    "array of simple strings": b"*1\r\n+PING\r\n",
    "array of integers": b"*1\r\n:1\r\n",
    "array in an array": b"*1\r\n*1\r\n$4\r\nPING\r\n",
    "array of nulls": b"*1\r\n_\r\n",
    "array of inline words": b"*2\r\nPING\r\n",
    "array with an empty line in it": b"*1\r\n\r\n$4\r\nPING\r\n",
    "array item of an odd byte": b"*1\r\n\xff4\r\nPING\r\n",
    "array item after a good one is no bulk": b"*2\r\n$4\r\nECHO\r\n:1\r\n",
    "bulk length is minus one": b"*1\r\n$-1\r\n",
    "bulk length of a second item is minus one": b"*2\r\n$4\r\nECHO\r\n$-1\r\n",
    "bulk length is no number": b"*1\r\n$x\r\n",
    "bulk length is missing": b"*1\r\n$\r\n",
    "bulk length has a leading zero": b"*1\r\n$04\r\nPING\r\n",
    "bulk length has a sign": b"*1\r\n$+4\r\nPING\r\n",
    "bulk length has a space": b"*1\r\n$ 4\r\nPING\r\n",
    "bulk length has an underscore": b"*1\r\n$1_0\r\n",
    "bulk length over the limit": b"*1\r\n$536870913\r\n",
    "bulk length over 64 bits": b"*1\r\n$99999999999999999999\r\n",
    "bulk length at the limit": b"*1\r\n$536870912\r\n",
    "bulk length of five hundred million": b"*1\r\n$500000000\r\n",
    "bulk length line is too long": b"*1\r\n$" + b"1" * (3 * LINE_LIMIT),
    "bulk of no bytes": encode("ECHO", ""),
    "bulk with another end than a line end": b"*1\r\n$4\r\nPINGxx" + encode("PING"),
    "bulk that is longer than it says": b"*1\r\n$4\r\nPINGPONG\r\n",
    "array that is never finished": b"*2\r\n$4\r\nECHO\r\n",
    "bulk that is never finished": b"*2\r\n$4\r\nECHO\r\n$1000\r\nabc",
    "good commands before a protocol error": SET_GET + b"*x\r\n" + encode("PING"),
    "good commands behind a protocol error": b"*1\r\n$x\r\n" + SET_GET,
    "nothing at all": b"",
    "many arguments": encode("NOSUCH", *range(20_000)),
    # --- inline commands
    "inline": b"PING\r\n",
    "inline with a bare line feed": b"PING\n",
    "inline in lower case": b"ping\r\n",
    "inline set and get": b"SET k v\r\nGET k\r\n",
    "inline with many spaces": b"  SET \t k   v  \r\nGET k\r\n",
    "inline with a vertical tab": b"SET\x0bk\x0cv\r\nGET k\r\n",
    "inline empty lines": b"\r\n\r\n\n \r\nPING\r\n",
    "inline with double quotes": b'SET k "a b"\r\nGET k\r\n',
    "inline with single quotes": b"SET k 'a b'\r\nGET k\r\n",
    "inline with escapes": b'ECHO "\\x41\\n\\r\\t\\b\\a\\"\\\\\\q\\xZZ\\x4"\r\n',
    "inline with escapes in single quotes": b"ECHO 'a\\'b\\n'\r\n",
    "inline with a quote in a word": b'ECHO a"b c"\r\n',
    "inline with empty quotes": b"SET \"\" ''\r\nGET ''\r\n",
    "inline with an open double quote": b'ECHO "abc\r\n',
    "inline with an open single quote": b"ECHO 'abc\r\n",
    "inline with a word behind a quote": b'ECHO "abc"def\r\n',
    "inline with an open escape": b'ECHO "abc\\\r\n',
    "inline with high bytes": b"ECHO \xff\xfe\r\n",
    "inline with a carriage return inside": b"ECHO a\rb\r\n",
    "inline unknown command": b"hello world\r\n",
    "inline with a dollar": b"$4\r\nPING\r\n",
    "inline with a plus": b"+PING\r\n",
    "inline with a colon": b":1\r\n",
    "inline html": b"<html><body a='b'>\r\n",
    "inline wrong arity": b"GET\r\n",
    "inline of a wrong quit": b"QUIT now\r\nPING\r\n",
    "inline then array then inline": b"PING\r\n" + encode("PING") + b"PING\r\n",
    "inline just under the limit": b"ECHO " + b"x" * (LINE_LIMIT - 100) + b"\r\n",
    "inline over the limit": b"ECHO " + b"x" * (3 * LINE_LIMIT),
    "inline over the limit with a line end": b"ECHO " + b"x" * (3 * LINE_LIMIT) + b"\r\nPING\r\n",
    "inline without an end": b"PING",
    # --- Redis closes on a web browser that was led to its port
    "http post": b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "host as a command": encode("HOST:", "localhost") + encode("PING"),
    # --- pipelines
    "pipeline": SET_GET + encode("DEL", "k") + encode("GET", "k") + encode("PING"),
    "pipeline of ten thousand": b"".join(encode("SET", f"k{i % 100}", i) + encode("GET", f"k{i % 90}") for i in range(5_000)),
    "pipeline of values of growing size": b"".join(encode("SET", "k", b"x" * 3**i) + encode("GET", "k") for i in range(12)),
}

# An array count is bounded before a client said who it is.
UNKNOWN_CLIENT_CASES: dict[str, bytes] = {
    "commands": encode("GET", "k") + encode("SET", "k", "v") + encode("PING") + encode("CONFIG", "GET", "*"),
    "unknown command": encode("NOSUCH"),
    "wrong arity": encode("GET"),
    "quit": encode("QUIT") + encode("PING"),
    "reset": encode("RESET"),
    "hello": encode("HELLO", "3"),
    "hello without a version": encode("HELLO"),
    "hello with an unknown version": encode("HELLO", "9"),
    "hello with a wrong password": encode("HELLO", "3", "AUTH", "default", "wrong"),
    "auth with a wrong password": encode("AUTH", "wrong") + encode("PING"),
    "auth of an unknown user": encode("AUTH", "nobody", "secret"),
    "auth": encode("AUTH", "secret") + SET_GET,
    "auth of the default user": encode("AUTH", "default", "secret") + SET_GET,
    "auth then a wrong one": encode("AUTH", "secret") + encode("AUTH", "wrong") + encode("PING"),
    "auth then reset": encode("AUTH", "secret") + encode("RESET") + encode("PING"),
    "inline": b"PING\r\nAUTH secret\r\nPING\r\n",
    "array of eleven": encode("AUTH", *range(10)),
    "array of ten": encode("AUTH", *range(9)),
    "bulk over 16 KiB": b"*2\r\n$4\r\nAUTH\r\n$16385\r\n",
    "bulk of 16 KiB": encode("AUTH", b"x" * 16384),
    "array of eleven behind auth in the same read": encode("AUTH", "secret") + encode("DEL", *range(10)),
    "shutdown": encode("SHUTDOWN"),
    "restore": encode("RESTORE", "k", "0", "rubbish"),
    "debug": encode("DEBUG", "NOSUCH"),
}


def converse(server: ServerProcess, payload: bytes, protocol: int = 2) -> bytes:
    """All that the server says to payload and a marked ECHO behind it."""
    with server.connect() as wire:
        if protocol == 3:
            wire.command("HELLO", 3)
        with suppress(ConnectionError):  # a closed connection shows in the replies
            wire.send(payload + encode("ECHO", MARK))
        wire.half_close()
        return wire.read_until_eof()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", CASES)
def test_replies_are_those_of_redis(kvserver: ServerProcess, redis_oracle: ServerProcess, name: str, protocol: int) -> None:
    ours, theirs = (converse(server, CASES[name], protocol) for server in (kvserver, redis_oracle))
    assert ours == theirs


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_connection_is_left_open_or_closed_as_the_cases_say(kvserver: ServerProcess, protocol: int) -> None:
    """Guards the table above against a harness that always, or never, sees the mark."""
    open_case, closed_case = (converse(kvserver, CASES[name], protocol) for name in ("unknown command", "quit"))
    assert open_case.endswith(MARK_REPLY)
    assert closed_case == b"+OK\r\n"


CLOSING_CASES = (
    *(name for name in CASES if name.startswith(("quit", "good commands"))),
    "inline of a wrong quit",
    "inline over the limit",
    "inline with an open double quote",
    "array count is no number",
    "bulk length over the limit",
)


@pytest.fixture(scope="module")
def always(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess("kvserver", tmp_path_factory.mktemp("always"), "--save", "", "--appendfsync", "always") as server:
        yield server


@pytest.mark.parametrize("name", CLOSING_CASES)
def test_end_of_a_connection_is_that_of_redis_behind_a_write_that_is_to_be_synced(
    always: ServerProcess, redis_oracle: ServerProcess, name: str
) -> None:
    payload = encode("SET", "before", "1") + CASES[name]
    for server in (always, redis_oracle):
        server.once("FLUSHALL")
    assert converse(always, payload) == converse(redis_oracle, payload)
    assert always.once("GET", "k") == redis_oracle.once("GET", "k"), "what stands behind the end has run"


@pytest.fixture(scope="module")
def guarded_servers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """kvserver and redis-server with a password."""
    options = (*COMMON_OPTIONS, "--requirepass", "secret")
    with (
        ServerProcess("kvserver", tmp_path_factory.mktemp("guarded-kvserver"), *options) as ours,
        ServerProcess("redis-server", tmp_path_factory.mktemp("guarded-redis"), *options) as theirs,
    ):
        yield ours, theirs


@pytest.mark.parametrize("name", UNKNOWN_CLIENT_CASES)
def test_unknown_client_gets_what_redis_gives_it(guarded_servers: tuple[ServerProcess, ServerProcess], name: str) -> None:
    ours, theirs = (converse(server, UNKNOWN_CLIENT_CASES[name]) for server in guarded_servers)
    assert ours == theirs


@pytest.mark.parametrize("arguments", [("RESTORE",), ("SHUTDOWN",), ("DEBUG", "CRASH"), ("JSON.GET", "k")])
def test_unknown_client_reaches_nothing_of_our_own(
    guarded_servers: tuple[ServerProcess, ServerProcess], arguments: tuple[str, ...]
) -> None:
    assert converse(guarded_servers[0], encode(*arguments)) == b"-NOAUTH Authentication required.\r\n" * 2


def test_http_request_ends_the_connection(kvserver: ServerProcess) -> None:
    """Redis loses the reply to the line before `Host:` at times, so it can't be compared."""
    replies = converse(kvserver, b"GET / HTTP/1.1\r\nHost: localhost\r\nSET k v\r\n\r\n")
    assert replies in (b"", b"-ERR wrong number of arguments for 'get' command\r\n")
    assert kvserver.once("EXISTS", "k") == b":0\r\n"


@pytest.mark.parametrize("allowed", ["no", "local", "yes"])
def test_debug_obeys_its_option(start_server: StartServer, allowed: str) -> None:
    options = ("--save", "", "--enable-debug-command", allowed)
    ours = start_server(*options).once("DEBUG", "CRASH")
    theirs = start_server(*options, kind="redis-server").once("DEBUG", "NOSUCH")
    assert ours == (b"+OK\r\n" if b"DEBUG HELP" in theirs else theirs)
    assert (ours == b"+OK\r\n") == (allowed != "no")


def test_clients_over_the_limit_get_the_error_of_redis(start_server: StartServer) -> None:
    replies = []
    for kind in ("kvserver", "redis-server"):
        server = start_server("--maxclients", "2", "--save", "", kind=kind)
        with server.connect() as first, server.connect() as second:
            assert first.command("PING") == second.command("PING") == b"+PONG\r\n"
            with server.connect() as third:
                replies.append(third.read_until_eof())
            assert first.command("PING") == b"+PONG\r\n"

        def accepted(server: ServerProcess = server) -> bool:
            with server.connect() as wire:
                wire.send(encode("PING"))
                return wire.read_reply() == b"+PONG\r\n"

        wait_until(accepted, "a place that became free is given to the next client")
    ours, theirs = replies
    assert ours == theirs != b""


def test_idle_client_is_closed_and_busy_one_is_kept(start_server: StartServer) -> None:
    server = start_server("--timeout", "1", "--save", "")
    with server.connect() as idle, server.connect() as busy, selectors.DefaultSelector() as selector:
        started = time.monotonic()
        assert idle.command("PING") == b"+PONG\r\n"
        selector.register(idle.socket, selectors.EVENT_READ)
        while not selector.select(timeout=0.1):
            assert busy.command("PING") == b"+PONG\r\n"
            assert time.monotonic() - started < 15, "the idle client was never closed"
        assert idle.read_until_eof() == b""
        assert time.monotonic() - started > 0.9
        assert busy.command("PING") == b"+PONG\r\n"


# --- what only kvserver has


@pytest.mark.parametrize(("protocol", "true", "false"), [(2, b":1\r\n", b":0\r\n"), (3, b"#t\r\n", b"#f\r\n")])
def test_true_and_false_have_the_kind_of_the_protocol(
    start_server: StartServer, protocol: int, true: bytes, false: bytes
) -> None:
    server = start_server("--shutdown-mode", "flush", "--save", "", "--appendonly", "no")
    with server.connect() as wire, server.connect() as other:
        wire.command("HELLO", protocol)
        assert wire.command("RESTORE") == false
        assert wire.command("SET", "k", "1") == b"+OK\r\n"
        assert wire.command("SHUTDOWN") == true
        assert wire.command("SET", "k", "2") == b"+OK\r\n"
        assert wire.command("SET", "l", "2") == b"+OK\r\n"
        assert wire.command("RESTORE") == true
        assert wire.command("GET", "k") == b"$1\r\n1\r\n"
        assert wire.command("DBSIZE") == b":1\r\n"
        assert other.command("GET", "k") == b"$1\r\n1\r\n"


def test_restore_in_a_pipeline_keeps_the_order_of_replies(start_server: StartServer) -> None:
    server = start_server("--shutdown-mode", "flush", "--save", "", "--appendonly", "no")
    requests = [
        (encode("SET", "k", "1"), b"+OK\r\n"),
        (encode("SHUTDOWN"), b":1\r\n"),
        (encode("SET", "k", "2"), b"+OK\r\n"),
        (encode("GET", "k"), b"$1\r\n2\r\n"),
        (encode("RESTORE"), b":1\r\n"),
        (encode("GET", "k"), b"$1\r\n1\r\n"),
        (encode("SET", "l", "3"), b"+OK\r\n"),
        (encode("SAVE"), b"+OK\r\n"),
        (encode("DEBUG", "CRASH"), b"+OK\r\n"),
        (encode("FLUSHALL"), b"+OK\r\n"),
        (encode("RESTORE"), b":1\r\n"),
        (encode("DBSIZE"), b":2\r\n"),
    ]
    with server.connect() as wire:
        wire.send(b"".join(request for request, _ in requests))
        assert [wire.read_reply() for _ in requests] == [reply for _, reply in requests]


def test_config_rewrite_keeps_what_a_person_wrote_and_holds_at_the_next_start(
    start_server: StartServer, tmp_path: Path
) -> None:
    file = tmp_path / "kvserver.toml"
    file.write_text("# mine\nsave = ''\ntimeout = 5  # seconds\n")
    server = start_server("--config", str(file))
    with server.connect() as wire:
        assert wire.command("CONFIG", "SET", "timeout", "77", "maxclients", "99", "requirepass", "secret") == b"+OK\r\n"
        assert wire.command("CONFIG", "REWRITE") == b"+OK\r\n"
        text = file.read_text()
        assert text.startswith("# mine\nsave = ''\ntimeout = 77  # seconds\n")
        file.unlink()
        assert wire.command("CONFIG", "REWRITE") == b"-ERR Rewriting config file: No such file or directory\r\n"
    server.stop()
    assert "CONFIG SET timeout 77" in server.log_text()
    assert "secret" not in server.log_text()
    file.write_text(text)
    with start_server("--config", str(file)).connect() as wire:
        assert wire.command("AUTH", "secret") == b"+OK\r\n"
        assert wire.value("CONFIG", "GET", "timeout", "maxclients") == [b"timeout", b"77", b"maxclients", b"99"]


SLOWLOG_STEPS: list[tuple[str | bytes, ...]] = [
    ("CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "8"),
    ("CLIENT", "SETNAME", "me"),
    ("AUTH", "secret"),
    ("HELLO", "2", "AUTH", "default", "secret"),
    ("CONFIG", "SET", "requirepass", "", "timeout", "0"),
    ("SET", "k", "v" * 200),
    ("SET", "k", "v", "nonsense"),
    ("NOSUCH", "x"),
    ("GET",),
    ("DEL", *(f"k{number}" for number in range(40))),
    ("GET", "k"),
    ("CONFIG", "GET", "nosuch"),
    ("config", "nosuch"),
]


def test_slowlog_keeps_what_redis_keeps(start_server: StartServer) -> None:
    kept: list[list[Any]] = []
    for kind in ("kvserver", "redis-server"):
        with start_server("--save", "", kind=kind).connect() as wire:
            for step in SLOWLOG_STEPS:
                wire.command(*step)
            entries = wire.value("SLOWLOG", "GET", "-1")
            kept.append([(number, words, name) for number, _, _, words, _, name in entries])
            _, at_s, _, _, address, _ = entries[0]
            assert abs(at_s - time.time()) < 60
            assert address == b"%b:%d" % (wire.socket.getsockname()[0].encode(), wire.socket.getsockname()[1])
            assert wire.value("SLOWLOG", "LEN") == 8
            wire.command("CONFIG", "SET", "slowlog-max-len", "2")
            wire.command("CONFIG", "SET", "slowlog-log-slower-than", "-1")
            assert wire.value("SLOWLOG", "LEN") == 2
            # What a RESET empties has the RESET itself as its first entry.
            wire.command("CONFIG", "SET", "slowlog-max-len", "8", "slowlog-log-slower-than", "0")
            wire.send(encode("SLOWLOG", "RESET") + encode("SLOWLOG", "LEN") + encode("PING") + encode("SLOWLOG", "RESET"))
            kept[-1] += [parse(wire.read_reply()) for _ in range(4)]
            kept[-1] += [wire.value("SLOWLOG", "LEN"), [entry[3] for entry in wire.value("SLOWLOG", "GET")]]
            wire.send(encode("MULTI") + encode("SLOWLOG", "RESET") + encode("CONFIG", "SET", "timeout", "0") + encode("EXEC"))
            kept[-1] += [parse(wire.read_reply()) for _ in range(4)]
            kept[-1] += [entry[3] for entry in wire.value("SLOWLOG", "GET")]
    ours, theirs = kept
    assert ours == theirs


def test_calls_are_counted_exactly_as_redis_counts_them(start_server: StartServer) -> None:
    """Whatever comes in one read, fails, is refused, or is named in another case."""
    steps = [
        encode("CONFIG", "RESETSTAT"),
        encode("SET", "k", "v") * 130 + encode("get", "k") * 70 + encode("GET", "k") * 3,
        encode("GeT", "k") + encode("PING") + encode("SET", "k") + encode("SET", "k", "v", "nonsense") + encode("NOSUCH"),
        encode("CONFIG", "GET", "timeout") + encode("CONFIG", "NOSUCH") + encode("CONFIG", "GET") + encode("DEBUG", "NOSUCH"),
        encode("DEL", *range(300)) + encode("EXISTS", "k") + encode("DEBUG", "SLEEP", "0") + encode("GET", "k") * 5,
        encode("SET", "k", "v") + encode("SAVE") + encode("GET", "k"),
        encode("MULTI") + encode("SET", "k", "v") + encode("GET", "k") * 3 + encode("NOSUCH") + encode("EXEC"),
        encode("MULTI") + encode("SET", "k", "v") + encode("GET", "k") * 3 + encode("SET", "k", "v", "x") + encode("EXEC"),
        encode("MULTI") + encode("GET", "k") + encode("DISCARD"),
        encode("GET", "k") + encode("INFO", "commandstats") + encode("GET", "k"),
    ]
    told = []
    for kind in ("kvserver", "redis-server"):
        with start_server("--save", "", "--enable-debug-command", "local", kind=kind).connect() as wire:
            for step in steps:
                wire.send(step + encode("ECHO", MARK))
                while parse(wire.read_reply()) != MARK:
                    pass
            found = {}
            for line in wire.value("INFO", "commandstats", "errorstats").decode().split("\r\n"):
                name, _, values = line.partition(":")
                fields = dict(field.split("=") for field in values.split(",") if field)
                found[name] = {field: count for field, count in fields.items() if "usec" not in field}
            told.append(found)
    ours, theirs = told
    assert ours == theirs


READS = """SET a 1|BITFIELD a GET u8 0|BITFIELD a SET u8 0 1|BITFIELD none GET u8 0|BITFIELD_RO a GET u8 0|BITOP OR d a none
DUMP a|DUMP none|COPY a b|COPY none c|GETEX a|GETEX none|TOUCH a none|EXISTS a none|TYPE a|TTL a|TTL none|EXPIRETIME a
LCS a none|RENAME a aa|RENAMENX aa a|EXPIRE a 100|PERSIST a|GETSET a 1|SET a 2 GET|SET a 2 NX|SET a 2 NX GET|SETNX a 1|GET a
GET none|MGET a none d|STRLEN a|STRLEN none|GETRANGE a 0 1|SUBSTR a 0 1|GETRANGE none 0 1|BITCOUNT a|BITCOUNT none|BITPOS a 1
GETBIT a 1|GETBIT none 1|SETBIT a 1 1|APPEND a x|INCR n|INCR n|GETDEL a|GETDEL a|DEL d|MSETNX a 1 z 1|SCAN 0|KEYS *|RANDOMKEY
SET a 1 EX 100|GET a|SET a 1 PXAT 1|GET a|DBSIZE|UNLINK a|SETRANGE a 0 x"""


def test_hits_and_misses_are_those_of_redis(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    told = []
    for server in (kvserver, redis_oracle):
        with server.connect() as wire:
            wire.command("CONFIG", "RESETSTAT")
            found = []
            for words in READS.replace("\n", "|").split("|"):
                wire.command(*words.split())
                stats = wire.value("INFO", "stats")
                found.append((words, re.findall(rb"keyspace_(?:hits|misses):(\d+)", stats)))
            told.append(found)
    ours, theirs = told
    assert ours == theirs


@pytest.mark.parametrize(
    ("before", "queued", "behind", "reply"),
    [
        (b"", [], b"", b"+OK\r\n"),
        (
            encode("MULTI") + encode("SET", "k", "v"),
            [b"+OK\r\n", *[b"+QUEUED\r\n"] * 3],
            encode("GET", "k") + encode("EXEC"),
            b"*3\r\n+OK\r\n+OK\r\n$1\r\nv\r\n",
        ),
    ],
    ids=["alone", "in a transaction"],
)
def test_sleep_stops_every_client_and_is_slow_in_every_log(
    start_server: StartServer, before: bytes, queued: list[bytes], behind: bytes, reply: bytes
) -> None:
    # Thresholds that a PING does not reach, however busy the machine is.
    slow = ("--latency-monitor-threshold", "300", "--slowlog-log-slower-than", "300000")
    server = start_server("--save", "", *slow)
    with server.connect() as sleeper, server.connect() as other:
        started = time.monotonic()
        sleeper.send(before + encode("DEBUG", "SLEEP", "0.3") + behind + encode("PING"))
        assert [sleeper.read_reply() for _ in queued] == queued
        replies = 0
        with selectors.DefaultSelector() as selector:
            selector.register(sleeper.socket, selectors.EVENT_READ)
            while not (sleeper.pending or selector.select(timeout=0)):
                assert other.command("PING") == b"+PONG\r\n"
                replies += 1
        assert time.monotonic() - started >= 0.3
        assert replies <= 5, "one or two before it sleeps, and one behind that; of a server that is awake, thousands"
        assert sleeper.read_reply() == reply
        assert sleeper.read_reply() == b"+PONG\r\n"
        (entry,) = sleeper.value("SLOWLOG", "GET")
        assert entry[3] == [b"DEBUG", b"SLEEP", b"0.3"]
        assert 300_000 <= entry[2] < 5_000_000
        (event, _, latest, longest) = sleeper.value("LATENCY", "LATEST")[0]
        assert event == b"command"
        assert 300 <= latest == longest < 5000
        told = sleeper.value("INFO", "commandstats", "latencystats").decode()
        for field in ("cmdstat_debug:calls=1,usec=", "latency_percentiles_usec_debug:p50="):
            (taken_us,) = re.findall(f"{re.escape(field)}([0-9]+)", told)
            assert int(taken_us) >= 300_000
        _, (_, calls, _, histogram) = sleeper.value("LATENCY", "HISTOGRAM", "debug")
        assert calls == 1
        assert histogram[0] >= 300_000, "and none that took less"
        other.send(b"".join(encode("SET", f"key:{number}", "v") for number in range(5000)))
        other.read_exactly(5000 * 5)
        other.send(encode("MULTI") + encode("KEYS", "*") + encode("EXEC"))
        for _ in range(3):
            other.read_reply()
        usec = dict(re.findall("cmdstat_(keys|exec):calls=[12],usec=([0-9]+)", other.value("INFO", "commandstats").decode()))
        slept_us = 300_000 if before else 0
        assert int(usec["exec"]) >= int(usec["keys"]) + slept_us > 0, "EXEC takes the time of what it runs"


def test_shutdown_mode_can_be_changed_while_running(start_server: StartServer) -> None:
    server = start_server("--save", "")
    with server.connect() as wire:
        assert wire.command("CONFIG", "SET", "shutdown-mode", "flush") == b"+OK\r\n"
        assert wire.command("SHUTDOWN") == b":1\r\n"
        assert wire.command("PING") == b"+PONG\r\n"


def test_shutdown_closes_every_connection_without_a_reply_and_exits_0(start_server: StartServer) -> None:
    server = start_server("--save", "")
    with server.connect() as wire, server.connect() as other:
        assert other.command("SET", "k", "v") == b"+OK\r\n"
        wire.send(encode("PING") + encode("SHUTDOWN") + encode("PING"))
        assert wire.read_until_eof() == b"+PONG\r\n"
        assert other.read_until_eof() == b""
    assert server.wait() == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_json_commands_have_the_replies_of_the_json_module(kvserver: ServerProcess, protocol: int) -> None:
    """In RESP3 that module answers JSON.TYPE by a list, also for the root path of old."""

    def kind_of(name: bytes | None) -> bytes:
        bulk = b"$%d\r\n%s\r\n" % (len(name), name) if name is not None else b"$-1\r\n" if protocol == 2 else b"_\r\n"
        return bulk if protocol == 2 else b"*1\r\n" + bulk

    null = b"$-1\r\n" if protocol == 2 else b"_\r\n"
    with kvserver.connect() as wire:
        wire.command("HELLO", protocol)
        assert wire.command("JSON.SET", "k", "$", '{"b": 1e16, "a": [1, null, "é"]}') == b"+OK\r\n"
        text = '{"a":[1,null,"é"],"b":1e+16}'.encode()
        assert wire.command("JSON.GET", "k") == b"$%d\r\n%s\r\n" % (len(text), text)
        assert wire.command("GET", "k") == b"$%d\r\n%s\r\n" % (len(text), text)
        assert wire.command("JSON.GET", "missing") == null
        for value, name in {"{}": b"object", "[]": b"array", '"s"': b"string", "true": b"boolean"}.items():
            assert wire.command("JSON.SET", "k", "$", value) == b"+OK\r\n"
            assert wire.command("JSON.TYPE", "k", ".") == kind_of(name)
        for value, name in {"1": b"integer", "1.5": b"number", "null": b"null"}.items():
            assert wire.command("JSON.SET", "k", ".", value) == b"+OK\r\n"
            assert wire.command("JSON.TYPE", "k", ".") == kind_of(name)
        assert wire.command("JSON.TYPE", "missing", ".") == kind_of(None)
        assert wire.command("JSON.DEL", "k") == b":1\r\n"
        assert wire.command("JSON.DEL", "k") == b":0\r\n"
        assert wire.command("EXISTS", "k") == b":0\r\n"


@pytest.mark.parametrize("text", ["", "{", "nope", '"a', "1 2", "[1,]", b'"\xff"', "[" * 200_000])
def test_what_is_no_json_is_refused_and_changes_nothing(kvserver: ServerProcess, text: str | bytes) -> None:
    with kvserver.connect() as wire:
        wire.command("JSON.SET", "k", "$", "1")
        assert wire.command("JSON.SET", "k", "$", text).startswith(b"-")
        assert wire.command("JSON.GET", "k") == b"$1\r\n1\r\n"


@pytest.mark.parametrize("arguments", [("GET",), ("SET", "k"), ("SET", "k", "$"), ("TYPE",), ("DEL",)])
def test_json_commands_check_their_arity(kvserver: ServerProcess, arguments: tuple[str, ...]) -> None:
    name = f"JSON.{arguments[0]}"
    expected = f"-ERR wrong number of arguments for '{name.lower()}' command\r\n"
    assert kvserver.once(name, *arguments[1:]) == expected.encode()


# --- replies that differ from Redis's in their content, not in their shape


def test_hello_3_gives_a_map_whose_keys_are_bulk_strings(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    keys = [b"server", b"version", b"proto", b"id", b"mode", b"role", b"modules"]
    for server in (kvserver, redis_oracle):
        with server.connect() as wire:
            raw = wire.command("HELLO", "3", "SETNAME", "me")
            assert raw.startswith(b"%7\r\n$6\r\nserver\r\n$")
            assert split_replies(raw[4:])[0::2] == [b"$%d\r\n%s\r\n" % (len(key), key) for key in keys]
            hello = parse(raw)
            assert (hello[b"proto"], hello[b"mode"], hello[b"role"]) == (3, b"standalone", b"master")
            assert hello[b"id"] == wire.value("CLIENT", "ID")
            assert wire.value("CLIENT", "GETNAME") == b"me"
            assert wire.command("GET", "missing") == b"_\r\n"


def test_hello_2_gives_a_flat_array_and_goes_back(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    for server in (kvserver, redis_oracle):
        with server.connect() as wire:
            wire.command("HELLO", "3")
            hello = wire.command("HELLO", "2")
            assert hello.startswith(b"*14\r\n$6\r\nserver\r\n")
            assert wire.command("GET", "missing") == b"$-1\r\n"
            assert wire.command("HELLO") == hello


def test_hello_without_a_version_keeps_the_protocol(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire:
        assert wire.command("HELLO").startswith(b"*14\r\n")
        wire.command("HELLO", "3")
        assert wire.command("HELLO").startswith(b"%7\r\n")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("arguments", [("CLIENT", "INFO"), ("CLIENT", "LIST"), ("INFO",), ("INFO", "server")])
def test_long_texts_are_verbatim_in_resp3_as_in_redis(
    kvserver: ServerProcess, redis_oracle: ServerProcess, arguments: tuple[str, ...], protocol: int
) -> None:
    for server in (kvserver, redis_oracle):
        with server.connect() as wire:
            wire.command("HELLO", protocol)
            head, _, text = wire.command(*arguments).partition(b"\r\n")
            assert head.startswith(b"$" if protocol == 2 else b"=")
            assert protocol == 2 or text.startswith(b"txt:")


def test_client_info_names_the_connection(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    for server in (kvserver, redis_oracle):
        with server.connect() as wire, server.connect() as other:
            wire.command("HELLO", "3", "SETNAME", "me")
            other.command("PING")
            line = wire.value("CLIENT", "INFO").decode()
            fields = dict(field.split("=", 1) for field in line.split())
            host, port = wire.socket.getsockname()
            assert fields["id"] == str(wire.value("CLIENT", "ID"))
            assert fields["addr"] == f"{host}:{port}"
            assert fields["laddr"] == f"127.0.0.1:{server.port}"
            assert (fields["name"], fields["db"], fields["cmd"]) == ("me", "0", "client|info")
            listed = wire.value("CLIENT", "LIST").decode().splitlines()
            ids = {dict(field.split("=", 1) for field in entry.split())["id"] for entry in listed}
            assert {fields["id"], str(other.value("CLIENT", "ID"))} <= ids
            only = wire.value("CLIENT", "LIST", "ID", fields["id"]).decode().splitlines()
            assert [entry.split()[0] for entry in only] == [f"id={fields['id']}"]


def test_client_ids_grow_and_are_never_given_twice(kvserver: ServerProcess) -> None:
    ids = [parse(kvserver.once("CLIENT", "ID")) for _ in range(10)]
    assert ids == sorted(set(ids))


def test_setinfo_of_redis_7_2_is_known(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire:
        assert wire.command("CLIENT", "SETINFO", "LIB-NAME", "a-library") == b"+OK\r\n"
        assert wire.command("CLIENT", "SETINFO", "lib-ver", "1.2.3") == b"+OK\r\n"
        assert b" lib-name=a-library lib-ver=1.2.3" in wire.value("CLIENT", "INFO")
        assert wire.command("CLIENT", "SETINFO", "NOSUCH", "x").startswith(b"-ERR Unrecognized option 'NOSUCH'")
        assert wire.command("CLIENT", "SETINFO", "LIB-NAME", "a b").startswith(b"-ERR lib-name cannot contain spaces")
        assert wire.command("CLIENT", "SETINFO", "LIB-NAME") == (
            b"-ERR wrong number of arguments for 'client|setinfo' command\r\n"
        )


COMPARED_COMMANDS = [
    *("set", "get", "setex", "psetex", "setnx", "getset", "getdel", "getex", "mget", "mset", "msetnx", "append", "strlen"),
    *("incr", "decr", "incrby", "decrby", "incrbyfloat", "getrange", "substr", "setrange", "lcs", "setbit", "getbit"),
    *("bitcount", "bitpos", "bitop", "bitfield", "bitfield_ro"),
    "del",
    "exists",
    "dbsize",
    "flushall",
    "save",
    "bgsave",
    "lastsave",
    "ping",
    "echo",
    "hello",
    "select",
    "quit",
    "reset",
    "auth",
    "info",
    "debug",
    "client",
    "command",
    "config",
]


@pytest.mark.parametrize("name", COMPARED_COMMANDS)
def test_command_info_has_the_arity_and_keys_of_redis(kvserver: ServerProcess, redis_oracle: ServerProcess, name: str) -> None:
    """Name, arity, first key, last key, step: what cluster clients and proxies route by."""
    ours, theirs = (parse(server.once("COMMAND", "INFO", name)) for server in (kvserver, redis_oracle))
    assert [ours[0][index] for index in (0, 1, 3, 4, 5)] == [theirs[0][index] for index in (0, 1, 3, 4, 5)]
    assert (b"write" in ours[0][2]) == (b"write" in theirs[0][2])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_command_docs_have_the_shape_that_redis_cli_reads(
    kvserver: ServerProcess, redis_oracle: ServerProcess, protocol: int
) -> None:
    for server in (kvserver, redis_oracle):
        with server.connect() as wire:
            wire.command("HELLO", protocol)
            docs = wire.value("COMMAND", "DOCS", "get")
            fields = docs[b"get"] if protocol == 3 else dict(zip(docs[1][0::2], docs[1][1::2], strict=True))
            assert {b"summary", b"since", b"group", b"complexity"} <= set(fields)
            assert fields[b"summary"] != b""


def test_command_count_and_list_agree(kvserver: ServerProcess) -> None:
    """But for subcommands, which are listed and not counted, as in Redis."""
    with kvserver.connect() as wire:
        names = [name for name in wire.value("COMMAND", "LIST") if b"|" not in name]
        assert wire.value("COMMAND", "COUNT") == len(names) == len(set(names)) == len(wire.value("COMMAND"))
        assert {name.encode() for name in COMPARED_COMMANDS} <= set(names)
        assert [info[0] for info in wire.value("COMMAND", "INFO", *names)] == names


def test_lastsave_moves_with_a_save(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire:
        before = wire.value("LASTSAVE")
        assert wire.command("SAVE") == b"+OK\r\n"
        after = wire.value("LASTSAVE")
        assert before <= after <= time.time() + 1
        assert abs(after - time.time()) < 60


def test_bgsave_answers_at_once_and_completes(start_server: StartServer) -> None:
    server = start_server("--save", "")
    with server.connect() as wire:
        wire.command("SET", "k", b"x" * MEGABYTE)
        assert wire.command("BGSAVE") == b"+Background saving started\r\n"
        wait_until(
            lambda: b"rdb_bgsave_in_progress:0\r\n" in wire.value("INFO", "persistence"),
            "the background save ends",
        )
        assert b"rdb_last_bgsave_status:ok\r\n" in wire.value("INFO", "persistence")
        server.kill()
    again = start_server("--save", "", directory=server.directory)
    assert again.once("GET", "k") == b"$%d\r\n%s\r\n" % (MEGABYTE, b"x" * MEGABYTE)


def test_info_has_what_clients_and_monitors_read(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire:
        wire.command("SET", "k", "v")
        lines = wire.value("INFO").decode().split("\r\n")
        assert {"# Server", "# Clients", "# Memory", "# Persistence", "# Stats", "# Keyspace"} <= set(lines)
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        assert fields["tcp_port"] == str(kvserver.port)
        assert fields["process_id"] == str(kvserver.process.pid)
        assert fields["redis_version"].count(".") == 2
        assert fields["db0"].startswith("keys=1,")
        assert int(fields["connected_clients"]) >= 1
        only = wire.value("INFO", "server").decode()
        assert re.findall("^# .*", only, re.MULTILINE) == ["# Server\r"]


# --- how the bytes arrive

SPLIT_PIPELINE = (
    encode("FLUSHALL")
    + encode("SET", "key", "a value\r\n with a line end")
    + encode("GET", "key")
    + b"SET inline 'two words'\r\n"
    + b"\r\nGET inline\n"
    + b"*0\r\n"
    + encode("NOSUCH", "x")
    + encode("DEL", "key", "inline", "missing")
    + encode("ECHO", b"\xff\0\r\n")
)

SPLIT_ERRORS = {
    "a bad count": encode("PING") + b"*1x\r\n" + encode("PING"),
    "a bad length": encode("PING") + b"*2\r\n$4\r\nECHO\r\n$-5\r\nPING\r\n",
    "another type": encode("PING") + b"*2\r\n$4\r\nECHO\r\n:5\r\nPING\r\n",
    "an open quote": encode("PING") + b'ECHO "abc\r\nPING\r\n',
    "quit": encode("PING") + encode("QUIT") + encode("PING"),
}


def send_in_parts(wire: Wire, other: Wire, parts: list[bytes]) -> None:
    """A round trip on another connection behind each part lets the server read it before the next leaves."""
    for part in parts:
        with suppress(ConnectionError):  # it closes behind an error, whatever is still to come
            wire.send(part)
        assert other.command("PING") == b"+PONG\r\n"


def test_request_split_at_every_byte_gives_the_same_replies(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire, kvserver.connect() as other:
        wire.send(SPLIT_PIPELINE)
        expected = [wire.read_reply() for _ in range(8)]
        assert expected[-1] == b"$4\r\n\xff\0\r\n\r\n"
        for at in range(1, len(SPLIT_PIPELINE)):
            send_in_parts(wire, other, [SPLIT_PIPELINE[:at], SPLIT_PIPELINE[at:]])
            assert [wire.read_reply() for _ in expected] == expected, f"split at {at}"
        assert wire.command("ECHO", MARK) == MARK_REPLY


def test_request_sent_byte_by_byte_gives_the_same_replies(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire, kvserver.connect() as other:
        wire.send(SPLIT_PIPELINE)
        expected = [wire.read_reply() for _ in range(8)]
        send_in_parts(wire, other, [SPLIT_PIPELINE[at : at + 1] for at in range(len(SPLIT_PIPELINE))])
        assert [wire.read_reply() for _ in expected] == expected
        assert wire.command("ECHO", MARK) == MARK_REPLY


@pytest.mark.parametrize("name", SPLIT_ERRORS)
def test_connection_ended_by_a_split_request_ends_the_same(kvserver: ServerProcess, name: str) -> None:
    payload = SPLIT_ERRORS[name]
    with kvserver.connect() as whole:
        whole.send(payload)
        expected = whole.read_until_eof()
    assert expected.startswith(b"+PONG\r\n")
    assert expected.count(b"PONG") == 1
    for at in range(1, len(payload)):
        with kvserver.connect() as wire, kvserver.connect() as other:
            send_in_parts(wire, other, [payload[:at], payload[at:]])
            assert wire.read_until_eof() == expected, f"split at {at}"


def test_value_sent_in_many_parts_arrives_whole(kvserver: ServerProcess) -> None:
    value = random.Random(1).randbytes(3 * MEGABYTE)
    request = encode("SET", "k", value)
    with kvserver.connect() as wire, kvserver.connect() as other:
        send_in_parts(wire, other, [request[at : at + 100_003] for at in range(0, len(request), 100_003)])
        assert wire.read_reply() == b"+OK\r\n"
        assert wire.value("GET", "k") == value


def test_half_close_still_gets_every_reply(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire:
        wire.send(b"".join(encode("ECHO", i) for i in range(10_000)))
        wire.half_close()
        assert [parse(raw) for raw in split_replies(wire.read_until_eof())] == [b"%d" % i for i in range(10_000)]


def test_half_close_still_gets_replies_that_fill_every_buffer(kvserver: ServerProcess) -> None:
    reply = b"$%d\r\n%s\r\n" % (MEGABYTE, b"x" * MEGABYTE)
    with kvserver.connect() as wire:
        wire.command("SET", "k", b"x" * MEGABYTE)
        wire.send(encode("GET", "k") * 32)
        wire.half_close()
        assert wire.read_until_eof() == reply * 32


def test_half_close_in_the_middle_of_a_request_closes_without_a_reply(kvserver: ServerProcess) -> None:
    request = encode("SET", "k", "value")
    for at in range(len(request)):
        with kvserver.connect() as wire:
            wire.send(request[:at])
            wire.half_close()
            assert wire.read_until_eof() == b"", f"cut at {at}"
    assert kvserver.once("EXISTS", "k") == b":0\r\n"


def test_quit_behind_a_big_reply_lets_it_arrive(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire:
        wire.command("SET", "k", b"x" * MEGABYTE)
        wire.send(encode("GET", "k") * 16 + encode("QUIT"))
        assert wire.read_until_eof() == b"$%d\r\n%s\r\n" % (MEGABYTE, b"x" * MEGABYTE) * 16 + b"+OK\r\n"


# --- clients that do wrong


def connected_clients(wire: Wire) -> int:
    return len(wire.value("CLIENT", "LIST").splitlines())


@pytest.mark.parametrize(
    "sent",
    [
        encode("SET", "k", "value")[:-3],
        b"*3\r\n$3\r\nSET",
        b"PING",
        encode("GET", "big") * 300,
        encode("SAVE"),
        encode("BGSAVE") + encode("GET", "big") * 20,
    ],
    ids=["cut value", "cut name", "cut inline", "unread replies", "unread save", "unread background save"],
)
def test_reset_in_the_middle_leaves_the_others_served(kvserver: ServerProcess, sent: bytes) -> None:
    with kvserver.connect() as other:
        other.command("SET", "big", b"x" * MEGABYTE)
        for _ in range(20):
            wire = kvserver.connect()
            wire.send(sent)
            assert other.command("PING") == b"+PONG\r\n"
            wire.reset()
        wait_until(lambda: connected_clients(other) == 1, "clients that were reset are forgotten")
        assert other.command("EXISTS", "k", "big") == b":1\r\n"


MEMORY_MARGIN = 24 * MEGABYTE


@pytest.mark.parametrize(
    "claim",
    [
        b"*100000000\r\n",
        b"*2147483647\r\n$4\r\nPING\r\n",
        b"*2\r\n$4\r\nECHO\r\n$500000000\r\n",
        b"*3\r\n$3\r\nSET\r\n$536870912\r\nabc",
        b"*1\r\n$536870912\r\n",
    ],
)
def test_what_a_client_declares_is_not_allocated(kvserver: ServerProcess, claim: bytes) -> None:
    """Several hundred such clients may cost what several hundred connections cost, and no more."""
    resident, peak = kvserver.memory_bytes("VmRSS"), kvserver.memory_bytes("VmHWM")
    with ExitStack() as stack:
        other = stack.enter_context(kvserver.connect())
        for _ in range(300):
            stack.enter_context(kvserver.connect()).send(claim)
        assert other.command("PING") == b"+PONG\r\n"
        assert kvserver.memory_bytes("VmRSS") < resident + MEMORY_MARGIN
        assert kvserver.memory_bytes("VmHWM") < peak + MEMORY_MARGIN
    assert kvserver.once("PING") == b"+PONG\r\n"


def test_slow_reader_gets_all_and_costs_others_neither_memory_nor_time(start_server: StartServer) -> None:
    """400 MB of replies are asked for at once by a client that doesn't read them at first."""
    count, value = 400, b"x" * MEGABYTE
    reply = b"$%d\r\n%s\r\n" % (len(value), value)
    server = start_server("--save", "", "--appendonly", "no")
    with server.connect() as slow, server.connect() as other:
        slow.command("SET", "k", value)
        peak = server.memory_bytes("VmHWM")

        def longest_wait_s() -> float:
            slow.send(encode("GET", "k") * count)
            longest_s = max(server.work_during_s(lambda: ping(other)) for _ in range(2_000))
            for index in range(count):
                assert slow.read_exactly(len(reply)) == reply, f"reply {index}"
            return longest_s

        assert least_cost(longest_wait_s, 0.2) < 0.2
        assert slow.command("ECHO", MARK) == MARK_REPLY
        assert server.memory_bytes("VmHWM") < peak + 64 * MEGABYTE


def test_sender_that_never_reads_is_held_back(start_server: StartServer) -> None:
    """It sends until the server takes no more; the memory of the server stays bounded."""
    server = start_server("--save", "", "--appendonly", "no")
    with server.connect() as flood, server.connect() as other:
        other.command("SET", "k", b"x" * 100_000)
        peak = server.memory_bytes("VmHWM")
        requests = memoryview(encode("GET", "k") * 40_000)
        flood.socket.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(flood.socket, selectors.EVENT_WRITE)
            sent = 0
            while sent < len(requests) and selector.select(timeout=0.5):
                sent += flood.socket.send(requests[sent:])
        assert other.command("PING") == b"+PONG\r\n"
        assert server.memory_bytes("VmHWM") < peak + 64 * MEGABYTE


def ping(wire: Wire) -> None:
    assert wire.command("PING") == b"+PONG\r\n"


def pump(server: ServerProcess, requests: bytes, reply_bytes: int) -> float:
    """Sends and reads as fast as the server takes and gives; the most work that another client's PING waited for."""
    with server.connect() as busy, server.connect() as other, selectors.DefaultSelector() as selector:
        busy.socket.setblocking(False)
        selector.register(busy.socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
        to_send = memoryview(requests)
        received = 0
        longest_s = 0.0
        while received < reply_bytes:
            for _, events in selector.select(timeout=DEADLINE_S):
                if events & selectors.EVENT_READ:
                    received += len(busy.socket.recv(MEGABYTE))
                if events & selectors.EVENT_WRITE:
                    to_send = to_send[busy.socket.send(to_send[:MEGABYTE]) :]
                    if not to_send:
                        selector.modify(busy.socket, selectors.EVENT_READ)
            longest_s = max(longest_s, server.work_during_s(lambda: ping(other)))
        return longest_s


def test_long_pipeline_costs_the_others_no_time_and_the_server_no_memory(start_server: StartServer) -> None:
    """What was read and has not run yet must be bounded, and no tick may run or parse all of it."""
    count = 100_000
    server = start_server("--save", "", "--appendonly", "no")
    peak = server.memory_bytes("VmHWM")

    def longest_wait_s() -> float:
        return pump(server, (encode("SET", "k", "v") + encode("STRLEN", "k")) * count, len(b"+OK\r\n:1\r\n") * count)

    assert least_cost(longest_wait_s, 0.1) < 0.1  # 0.03 s; 0.16 s where one turn runs all that has come
    assert server.memory_bytes("VmHWM") < peak + MEMORY_MARGIN


def test_command_in_a_long_pipeline_costs_what_it_costs_in_a_short_one(start_server: StartServer) -> None:
    server = start_server("--save", "", "--appendonly", "no")

    def cost_s(pipelines: int, length: int) -> float:
        started_s = server.processor_time_s()
        for _ in range(pipelines):
            pump(server, encode("SET", "k", "v") * length, len(b"+OK\r\n") * length)
        return server.processor_time_s() - started_s

    # The least of either: what a busy machine adds to one of them must not tell for or against the other.
    long_s, short_s = (min(cost_s(*shape) for _ in range(3)) for shape in ((1, 200_000), (200, 1_000)))
    assert long_s < 3 * short_s


# --- random bytes

FUZZ_COUNT = int(os.environ.get("KVSERVER_FUZZ_COUNT", "400"))
FUZZ_SEED = int(os.environ.get("KVSERVER_FUZZ_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)


def random_word(rng: random.Random) -> bytes:
    choices: list[Callable[[], bytes]] = [
        lambda: rng.choice([b"k", b"l", b"m"]),
        lambda: b"%d" % rng.randrange(-2, 12),
        lambda: rng.randbytes(rng.randrange(6)),
        lambda: b"x" * rng.randrange(2000),
        lambda: rng.choice([b"\r\n", b"*1\r\n", b"$3\r\n", b"'", b'"', b"\\", b""]),
    ]
    return rng.choice(choices)()


def random_request(rng: random.Random) -> bytes:
    """Mostly a good command that both servers know; never one whose reply depends on the server."""
    name = rng.choice([b"SET", b"GET", b"DEL", b"EXISTS", b"DBSIZE", b"PING", b"ECHO", b"SELECT", b"FLUSHALL", b"RESET"])
    arity = {b"SET": 2, b"DBSIZE": 0, b"PING": 0, b"FLUSHALL": 0, b"RESET": 0}.get(name, 1)
    if rng.random() < 0.1:
        arity = rng.randrange(3)
    if rng.random() < 0.05:
        name = b"nosuch" + random_word(rng)[:20]
    return encode(name, *(random_word(rng) for _ in range(arity)))


def random_inline(rng: random.Random) -> bytes:
    letters = b"abz019 '\"\\x \t*$+-:\xff"
    line = bytes(rng.choice(letters) for _ in range(rng.randrange(30)))
    return rng.choice([b"ECHO ", b"SET ", b"GET ", b"zz", b""]) + line + rng.choice([b"\r\n", b"\n"])


def mutated(rng: random.Random, data: bytes) -> bytes:
    """One byte lost, doubled or changed. Line ends stay: Redis takes any byte for a feed behind a return."""
    places = [at for at, byte in enumerate(data) if byte not in b"\r\n"]
    if not places:
        return data
    at = rng.choice(places)
    kind = rng.randrange(3)
    if kind == 0:
        return data[:at] + data[at + 1 :]
    if kind == 1:
        return data[:at] + data[at : at + 1] * 2 + data[at + 1 :]
    return data[:at] + bytes([rng.choice(b"$*:+-_#%,0123456789 axA\x80\xff")]) + data[at + 1 :]


def random_conversation(rng: random.Random) -> bytes:
    pieces = []
    for _ in range(rng.randrange(1, 12)):
        kind = rng.random()
        piece = random_inline(rng) if kind < 0.15 else random_request(rng)
        pieces.append(mutated(rng, piece) if kind > 0.85 else piece)
    return b"".join(pieces)


def test_random_conversations_get_the_replies_of_redis(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    rng = random.Random(FUZZ_SEED)
    compared = 0
    for index in range(FUZZ_COUNT):
        payload, protocol = random_conversation(rng), rng.choice(PROTOCOLS)
        if b"\0" in payload:
            continue  # a mutation may bring a nul into a line, where Redis's C strings end
        ours, theirs = (converse(server, payload, protocol) for server in (kvserver, redis_oracle))
        assert ours == theirs, f"KVSERVER_FUZZ_SEED={FUZZ_SEED}, conversation {index}, RESP{protocol}: {payload!r}"
        compared += 1
    assert compared > FUZZ_COUNT // 4


def test_random_conversations_in_random_parts_get_the_same_replies(kvserver: ServerProcess) -> None:
    """Where a read ends decides which parser goes on; the replies must not show it."""
    rng = random.Random(FUZZ_SEED)
    with kvserver.connect() as other:
        for index in range(FUZZ_COUNT):
            payload = random_conversation(rng) + encode("ECHO", MARK)
            other.command("FLUSHALL")
            with kvserver.connect() as wire:
                wire.send(payload)
                wire.half_close()
                expected = wire.read_until_eof()
            cuts = [0, *sorted(rng.choices(range(len(payload)), k=rng.randrange(1, 6))), len(payload)]
            other.command("FLUSHALL")
            with kvserver.connect() as wire:
                send_in_parts(wire, other, [payload[start:end] for start, end in pairwise(cuts)])
                wire.half_close()
                same = wire.read_until_eof() == expected
            assert same, f"KVSERVER_FUZZ_SEED={FUZZ_SEED}, conversation {index} cut at {cuts}: {payload!r}"


def test_random_bytes_hurt_nobody(kvserver: ServerProcess) -> None:
    rng = random.Random(FUZZ_SEED)
    with kvserver.connect() as witness:
        for index in range(FUZZ_COUNT):
            payload = rng.randbytes(rng.randrange(1, 3000))
            if rng.random() < 0.5:
                payload = mutated(rng, random_conversation(rng)) + payload
            with kvserver.connect() as wire:
                with suppress(ConnectionError):
                    wire.send(payload)
                wire.half_close()
                wire.read_until_eof()
            assert witness.command("PING") == b"+PONG\r\n", f"KVSERVER_FUZZ_SEED={FUZZ_SEED}, {index}: {payload!r}"
    kvserver.check_log()


def test_unix_socket_serves_as_the_port_does(start_server: StartServer, tmp_path: Path) -> None:
    path = tmp_path / "kv.sock"
    start_server("--unixsocket", str(path), "--save", "")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(encode("PING"))
        assert client.recv(100) == b"+PONG\r\n"


@pytest.mark.parametrize("odd", [encode("SAVE"), encode("GET", "long")], ids=["an effect", "replies that are not read"])
def test_pipeline_of_more_than_one_turn_goes_on_behind_what_made_it_wait(kvserver: ServerProcess, odd: bytes) -> None:
    with kvserver.connect() as wire:
        assert wire.command("SET", "long", "x" * 100_000) == b"+OK\r\n"
        wire.send((encode("PING") * 100 + odd) * 40)
        for _ in range(40):
            for _ in range(100):
                assert wire.read_reply() == b"+PONG\r\n"
            assert wire.read_reply()[:1] in b"+$"
