"""Runs of usual calls (`packed`, `strings`), of one command or of several by turns, on the shards of a keyspace.

The shards are given as to the functions in `strings`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kvserver._speedups import packed, strings
from kvserver._speedups.choice import TWINS, leaf
from kvserver._speedups.packed import Call, Request

# By their codes. First the reads.
CALLS: Final[tuple[Call, ...]] = (
    strings.get_string,
    packed.get_field,
    packed.find_member,
    strings.set_string,
    strings.increment,
    packed.set_field,
    packed.push_left,
    packed.push_right,
    packed.pop_left,
    packed.pop_right,
    packed.add_member,
    packed.remove_member,
    packed.add_score,
)
READS: Final = 3
_GET: Final = CALLS.index(strings.get_string)
_SET: Final = CALLS.index(strings.set_string)
_INCREMENT: Final = CALLS.index(strings.increment)
_CALLS: Final = tuple(TWINS[call.__name__] for call in CALLS)


@leaf
def run_calls(
    shards: list[dict[bytes, Any]],
    digest: Callable[[bytes], int],
    by_shard: list[Any],
    now: Any,
    requests: list[Request],
    start: int,
    codes: dict[bytes, int],
    config: Any,
    most: int,
    null: bytes,
    expiring: type[Any],
    now_ms: int,
    records: list[Request],
) -> tuple[bytes, int, int, int, int]:
    """Run requests from this place on, up to one that is no usual call of a command that has a code.

    Return the replies as they are sent, the number of calls that have run, how many reads have found their keys and how many
    have not, and how many GETs have not, which are none of these reads. `null` is the reply that is nothing. An entry that is
    `expiring` has a `value` that may be read until `expires_at_ms`.

    The records of what has changed are appended to `records`: so they are there even if memory ends where all has run. The
    record of a call is its request, and that of an INCR is a SET.
    """
    replies: list[bytes] = []
    count, done, hits, misses, missed_gets = len(shards), 0, 0, 0, 0
    for request in requests[start:]:
        code = codes.get(request[0])
        if code is None or len(request) < 2:
            break
        key = request[1]
        index = digest(key) % count
        shard = shards[index]
        entry: Any = None
        if code != _SET:
            by_shard[index] = now
            entry = shard.get(key)
        if code < READS and type(entry) is expiring:
            if entry.expires_at_ms <= now_ms:
                break
            entry = entry.value
        found = _CALLS[code](entry, request, config, most)
        if found is None:
            break
        reply, changed = found
        if reply is None:
            replies.append(null)
        elif reply is True:
            replies.append(b"+OK\r\n")
        else:
            replies.append(b":%d\r\n" % reply if type(reply) is int else b"$%d\r\n%b\r\n" % (len(reply), reply))
        if changed is not entry or code == _SET:
            records.append([b"SET", key, changed] if code == _INCREMENT else request)
            by_shard[index] = now
            if changed is None:
                del shard[key]
            else:
                shard[key] = changed
        elif code == _GET:
            missed_gets += entry is None
        elif code < READS:
            hits += entry is not None
            misses += entry is None
        done += 1
    return b"".join(replies), done, hits, misses, missed_gets
