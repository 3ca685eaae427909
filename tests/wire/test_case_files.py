"""The reader of case files gives the bytes of each form, and names the line where a file is wrong."""

from __future__ import annotations

import pytest

from helpers.casefiles import CaseFileError, Conversation, is_expected, parse_file, show
from helpers.servers import encode


def the_only(text: str) -> Conversation:
    (conversation,) = parse_file("sample", f"# A sample.\n\na name\n{text}").conversations
    return conversation


@pytest.mark.parametrize(
    ("line", "payload"),
    [
        ("SET k v", encode("SET", "k", "v")),
        ("GET k; GET l", encode("GET", "k") + encode("GET", "l")),
        ('SET "a b" "\\x00\\xff\\r\\n\\"\\\\"', encode("SET", "a b", b'\0\xff\r\n"\\')),
        ("SET 'a \\'b' ''", encode("SET", "a 'b", "")),
        ("SET k é;GET k", encode("SET", "k", "é") + encode("GET", "k")),
        ('SET k "x"*3"y"', encode("SET", "k", "xxxy")),
        ("SET k <every byte>*2", encode("SET", "k", bytes(range(256)) * 2)),
        ("KEYS k*; KEYS ';'", encode("KEYS", "k*") + encode("KEYS", ";")),
        ("DEL 8..11 k", encode("DEL", 8, 9, 10, 11, "k")),
        ("BITFIELD k GET u8 #0", encode("BITFIELD", "k", "GET", "u8", "#0")),
        ("3 times: PING", encode("PING") * 3),
        ("for n in 1 'x y': SET k{n} {n}; GET k", b"".join(
            encode(*words) for words in (("SET", "k1", 1), ("GET", "k"), ("SET", "kx", "y", "x", "y"), ("GET", "k"))
        )),
        ("for a in 1..2: for b in x y: ECHO {a}{b}", b"".join(encode("ECHO", each) for each in ("1x", "1y", "2x", "2y"))),
        ("2 times: for n in 0..1: ECHO {n}", (encode("ECHO", 0) + encode("ECHO", 1)) * 2),
        ('raw: "*1\\r\\n$" "1"*4', b"*1\r\n$1111"),
        ('raw: ""', b""),
        ('inline: ECHO "a;b\\x41', b'ECHO "a;b\\x41\r\n'),
        ("# a comment\n    PING", encode("PING")),
    ],
)  # fmt: skip
def test_line_says_these_bytes(line: str, payload: bytes) -> None:
    assert the_only(f"    {line}\n").payload == payload


def test_clients_speak_in_turn_and_leave() -> None:
    said = the_only("    A: MULTI; GET k\n    B: PING\n    A: <close>\n").said
    assert [(each.client, each.data) for each in said] == [
        ("A", encode("MULTI") + encode("GET", "k")),
        ("B", encode("PING")),
        ("A", b""),
    ]


def test_commands_are_known_but_for_those_in_raw_bytes() -> None:
    conversation = the_only('    2 times: GET k\n    raw: "PING\\r\\n"\n    inline: PING\n')
    assert conversation.requests == [(b"GET", b"k"), (b"GET", b"k")]


def test_reply_of_what_is_ours_alone_is_told_for_both_protocols() -> None:
    conversation = the_only("    ours: a reason\n    JSON.GET k => (nil)\n    JSON.TYPE k => a | [a | b]\n")
    assert conversation.ours_because == "a reason"
    assert [said.expected for said in conversation.said] == [("(nil)", "(nil)"), ("a", "[a | b]")]


SETTINGS = """# A sample.
options: --requirepass secret
random: GET key
random 2: SET key value?
turn 2: MULTI
similar: TTL PTTL = a few seconds apart
unsent: RESTORE x = a reason

one
    PING

then: GET k

two
    PING

ours: a reason
then:

three
    PING => PONG
"""


def test_settings_are_of_the_file_or_of_what_is_below() -> None:
    family = parse_file("sample", SETTINGS)
    assert family.options == ("--requirepass", "secret")
    assert family.rows == ["GET key", "SET key value?", "SET key value?"]
    assert family.turns == ["MULTI", "MULTI"]
    assert family.similar == {b"TTL": "a few seconds apart", b"PTTL": "a few seconds apart"}
    assert family.unsent == {(b"RESTORE", b"x"): "a reason"}
    assert [each.payload for each in family.conversations] == [
        encode("PING"),
        encode("PING") + encode("GET", "k"),
        encode("PING"),
    ]
    assert [each.ours_because for each in family.conversations] == ["", "", "a reason"]


@pytest.mark.parametrize(
    ("text", "line", "error"),
    [
        ("a name\n", 1, "a file begins with a comment"),
        ("# Head.\n\n    PING\n", 3, "said in no conversation"),
        ("# Head.\n\na name\n\nanother\n    PING\n", 3, "nothing is said in 'a name'"),
        ("# Head.\n\na name\n", 3, "nothing is said in 'a name'"),
        ("# Head.\na\n    PING\na\n    PING\n", 4, "two conversations of the name 'a'"),
        ("# Head.\na: b\n    PING\n", 2, "there is no setting 'a'"),
        ('# Head.\na\n    PING\n    GET "k\n', 4, "a quote that doesn't end: \"k"),
        ("# Head.\na\n    GET 'k\n", 3, "a quote that doesn't end"),
        ('# Head.\na\n    GET "\\q"\n', 3, "no escape is '\\\\q'"),
        ('# Head.\na\n    GET "\\x1"\n', 3, "no escape is '\\\\x1'"),
        ("# Head.\na\n    GET k;; PING\n", 3, "a command has no words"),
        ("# Head.\na\n    GET k;\n", 3, "a command has no words"),
        ("# Head.\na\n    A: PING\n    PING\n", 4, "every line names its client"),
        ("# Head.\na\n    PING\n    A: PING\n", 4, "every line names its client"),
        ("# Head.\na\n    for n in 1 2: PING\n", 3, "{n} stands nowhere"),
        ("# Head.\na\n    PING => PONG\n", 3, "a reply stands where"),
        ("# Head.\na\n    ours: why\n    PING\n", 4, "a reply stands where"),
        ("# Head.\na\n    ours: why\n    PING; PING => PONG\n", 4, "one command"),
        ("# Head.\na\n    ours: why\n    A: PING => PONG\n", 4, "one client"),
        ("# Head.\na\n    PING\n    ours: why\n", 4, "stands at its beginning"),
        ("# Head.\nrandom: GET kee\n", 2, "no random word is called 'kee'"),
        ("# Head.\nsimilar: TTL = alike\n", 2, "no comparison is called 'alike'"),
        ("# Head.\nunsent: RESTORE\n", 2, "unsent says what"),
    ],
)
def test_wrong_file_is_refused_with_its_line(text: str, line: int, error: str) -> None:
    with pytest.raises(CaseFileError) as caught:
        parse_file("sample", text)
    assert str(caught.value).startswith(f"sample.txt:{line}: ")
    assert error in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"+OK\r\n", "OK"),
        (b"-ERR no\r\n", "(error) ERR no"),
        (b":-1\r\n", "(integer) -1"),
        (b",1.5\r\n", "(double) 1.5"),
        (b"(12\r\n", "(big number) 12"),
        (b"#t\r\n", "(true)"),
        (b"#f\r\n", "(false)"),
        (b"_\r\n", "(nil)"),
        (b"$-1\r\n", "(nil)"),
        (b"*-1\r\n", "(nil array)"),
        (b'$9\r\n\xc3\xa9"\\\r\n\t\0\xff\r\n', '"é\\"\\\\\\r\\n\\t\\x00\\xff"'),
        (b"$0\r\n\r\n", '""'),
        (b"=5\r\ntxt:a\r\n", '(verbatim) "a"'),
        (b"*2\r\n:1\r\n*1\r\n+a\r\n", "[(integer) 1, [a]]"),
        (b"*0\r\n", "[]"),
        (b"%1\r\n+a\r\n:1\r\n", "{a: (integer) 1}"),
        (b"~1\r\n+a\r\n", "(set) [a]"),
        (b">1\r\n+a\r\n", "(push) [a]"),
    ],
)
def test_reply_is_shown_as_redis_cli_shows_it(raw: bytes, shown: str) -> None:
    assert show(raw) == shown


def test_expected_reply_may_leave_its_end_open() -> None:
    assert is_expected(b"-ERR no: why\r\n", "(error) ERR no…")
    assert not is_expected(b"-ERR no: why\r\n", "(error) ERR no")
    assert not is_expected(b"-ERR yes\r\n", "(error) ERR no…")
