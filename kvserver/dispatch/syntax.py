"""The arguments of commands in a short notation, and what COMMAND DOCS tells of them, by which redis-cli shows its hints.

key:key value                two arguments: a name and, unless it is `string`, a type
destination:key#1            a key of the second key specification
NX                           a word that stands for itself
EX=seconds:integer           a word, and an argument behind it
when<NX|XX>                  one of several
pair{key:key value}          several that belong together
[value]? [value]+ [value]++  optional, repeated, repeated with its word
GET?@6.2.0                   since a version of Redis
"""

from __future__ import annotations

import re

from kvserver.resp.reply import Reply, SetOf, Simple

_TYPES = "integer|double|pattern|unix-time|pure-token|string|key(?:#[0-9])?"
_PART = re.compile(
    rf"(?:(?P<token>[^\s<>{{}}|?+@=]*)=)?(?P<name>[^\s<>{{}}|?+@=]+?)(?::(?P<type>{_TYPES}))?(?=[\s<>{{}}|?+@]|$)"
)
_SUFFIX = re.compile(r"(?P<optional>\?)?(?P<multiple>\+{0,2})(?:@(?P<since>[0-9.]+))?")
_ENDS = {"<": (">", "oneof"), "{": ("}", "block")}


def arguments(notation: str) -> list[Reply]:
    """The `arguments` of COMMAND DOCS. ValueError for what is not in the notation above."""
    found, end = _read(notation, 0, "")
    if end != len(notation):
        raise ValueError(f"{notation!r} has something behind its end at {end}")
    return found


def _read(notation: str, start: int, end_mark: str) -> tuple[list[Reply], int]:
    """The arguments up to an end mark, and where it is."""
    found: list[Reply] = []
    while start < len(notation) and notation[start] != end_mark:
        if notation[start] in " |":
            start += 1
            continue
        part = _PART.match(notation, start)
        if part is None:
            raise ValueError(f"{notation!r} has no argument at {start}")
        start, kind, inner = part.end(), part["type"], None
        if notation[start : start + 1] in _ENDS:
            mark, kind = _ENDS[notation[start]]
            inner, start = _read(notation, start + 1, mark)
            start += 1
        suffix = _SUFFIX.match(notation, start)
        assert suffix is not None
        start = suffix.end()
        found.append(_argument(part["token"], part["name"], kind, suffix, inner))
    if end_mark and start >= len(notation):
        raise ValueError(f"{notation!r} lacks a {end_mark}")
    return found, start


def _argument(token: str | None, name: str, kind: str | None, suffix: re.Match[str], inner: list[Reply] | None) -> Reply:
    if kind is None and token is None and name.isupper():
        token, name, kind = name, name.lower(), "pure-token"
    kind, _, key_specification = (kind or "string").partition("#")
    described: dict[Reply, Reply] = {b"name": name.encode(), b"type": kind.encode()}
    if kind == "key":
        described[b"key_spec_index"] = int(key_specification or 0)
    if token is not None:
        described[b"token"] = token.encode()
    if suffix["since"]:
        described[b"since"] = suffix["since"].encode()
    flags = ["optional"] * bool(suffix["optional"]) + ["multiple", "multiple_token"][: len(suffix["multiple"])]
    if flags:
        described[b"flags"] = SetOf(Simple(flag) for flag in flags)
    if inner is not None:
        described[b"arguments"] = inner
    return described
