"""An engine in NATS JetStream, opened: its streams and buckets, made where there are none, and never changed where there are.

For data of the name NAME there are the stream KVSERVER_NAME (the log), the key-value buckets KVSERVER_NAME (the manifest) and
KVSERVER-NODES_NAME (who is there), and the object store KVSERVER_NAME (the snapshots).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from kvserver.errors import Denied, LogLost, MediumError, NotReady
from kvserver.formats.manifest import BEGINNING
from kvserver.media.nats_calls import ANSWER_S, must_be_done
from kvserver.media.nats_client import NatsClient
from kvserver.media.nats_feed import NANOSECONDS
from kvserver.media.nats_log import EXPECTED_LAST, NO_STREAM, NatsLog
from kvserver.media.nats_presence import AGE_S, NatsPresence
from kvserver.media.nats_url import NatsUrl, parse_nats_url
from kvserver.media.nats_vault import MANIFEST_KEY, NatsVault
from kvserver.media.shared import Engine, Vault

LEASE_S: Final = 3.0
# The first version whose direct gets give several messages at once.
LEAST_VERSION: Final = (2, 11)
# A message has to have room for the headers, and be worth it.
LEAST_PAYLOAD: Final = 64 << 10
# So many nodes have each entry in a cluster, where the URL does not say: one of them may fail.
USUAL_REPLICAS: Final = 3
# The time for a stream of several nodes to be made, and to have a leader.
CREATE_S: Final = 15.0
PAUSE_S: Final = 0.05
MONITOR_S: Final = 1.0

NO_JETSTREAM: Final = frozenset({10039, 10076})
TOO_FEW_NODES: Final = frozenset({10005, 10074})
# An answer to "make this stream" that time may change: there is no leader yet, or not for this.
NOT_YET: Final = frozenset({10008, 10009})

# No stream ever comes to this sequence.
NEVER: Final = (1 << 63) - 1

Settings = dict[str, Any]


def open_nats(url: str, vault: Vault | None = None, *, is_made: bool = True) -> Engine:
    """Open the engine at this URL, with its own vault or another one. MediumError, in one line. ExtraMissing.

    `is_made`: what is not there is made. Else that is an error, and the engine is for one who only reads.
    """
    found = parse_nats_url(url)
    client = NatsClient(found.hosts, found.login)
    client.open()
    try:
        return _opened(found, client, vault, is_made=is_made)
    except MediumError as error:
        client.close()
        raise type(error)(f"{found.public}: {error}") from None
    except BaseException:
        client.close()
        raise


def stream_of(name: str) -> str:
    """The name of the stream that is the log of the data of this name."""
    return f"KVSERVER_{name}"


def _opened(url: NatsUrl, client: NatsClient, vault: Vault | None, *, is_made: bool) -> Engine:
    _must_be_suitable(client.info)
    must_have_jetstream(client)
    stream, subject = stream_of(url.name), f"kvserver.{url.name}"
    values, nodes = f"KVSERVER_{url.name}", f"KVSERVER-NODES_{url.name}"
    provide = partial(_provide, client, is_made=is_made)
    if not _is_there(client, stream):
        _must_not_be_missed(client, stream, vault, values)
    log_settings = provide(stream, {"subjects": [subject], "deny_delete": True}, url.replicas)
    replicas = log_settings["num_replicas"]
    others = {f"KV_{values}": {"subjects": [f"$KV.{values}.>"], "max_msgs_per_subject": 1, "allow_rollup_hdrs": True}}
    # Where nobody is, it may be gone: it is in memory.
    if is_made:
        others[f"KV_{nodes}"] = {
            "subjects": [f"$KV.{nodes}.>"],
            "max_msgs_per_subject": 1,
            "allow_rollup_hdrs": True,
            "storage": "memory",
            "max_age": AGE_S * NANOSECONDS,
            # It may not be longer than what it is about.
            "duplicate_window": AGE_S * NANOSECONDS,
        }
    if vault is None:
        objects = [f"$O.{values}.C.>", f"$O.{values}.M.>"]
        others[f"OBJ_{values}"] = {"subjects": objects, "allow_rollup_hdrs": True}
    with ThreadPoolExecutor(len(others)) as pool:
        # Each takes as long as an election, where there are several nodes. The first that fails is told of.
        list(pool.map(partial(provide, replicas=replicas), others.keys(), others.values()))
    if is_made:
        for written in (subject, f"$KV.{values}.{MANIFEST_KEY}"):
            _must_be_let_write(client, written)
    intervals = [_sync_interval_at(monitor) for monitor in url.monitors]
    promises, warnings = _promises(replicas, intervals, max(replicas, len(url.hosts)))
    return Engine(
        url.public,
        url.name,
        NatsLog(client, stream, subject),
        vault or NatsVault(client, values, values),
        NatsPresence(client, nodes),
        LEASE_S,
        promises=promises,
        warnings=warnings,
    )


def _is_there(client: NatsClient, stream: str) -> bool:
    error: Settings = _asked(client, f"$JS.API.STREAM.INFO.{stream}", {}).get("error", {})
    return error.get("err_code") != NO_STREAM


def _must_not_be_missed(client: NatsClient, stream: str, vault: Vault | None, values: str) -> None:
    """LogLost if the manifest tells of entries of the stream, which is not there. A new one would not have them."""
    if vault is None and _is_there(client, f"KV_{values}"):
        vault = NatsVault(client, values, values)
    manifest = vault.manifest()[0] if vault else None
    if manifest and manifest.position != BEGINNING:
        raise LogLost(
            f"the stream {stream} is gone, and the last snapshot goes on from its entry {manifest.position.number}: "
            "kvserver restore brings what the snapshot has"
        )
    if manifest and manifest.epoch:
        raise LogLost(f"the stream {stream} is gone, and had all data: nodes have led up to the epoch {manifest.epoch}")


def _must_be_suitable(info: Mapping[str, Any]) -> None:
    """MediumError if this server will not do."""
    version = str(info.get("version", ""))
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if not numbers or (int(numbers[1]), int(numbers[2])) < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise MediumError(f"nats-server {least} or later is needed, and this one is {version or 'of no version'}")
    most = int(info.get("max_payload", 0))
    if most < LEAST_PAYLOAD:
        raise MediumError(f"the server's max_payload is {most}, and {LEAST_PAYLOAD} bytes are the least that will do")


def must_have_jetstream(client: NatsClient) -> None:
    """MediumError if there is no JetStream for this user."""
    if not client.info.get("jetstream") and not client.info.get("cluster"):
        raise MediumError("JetStream is off: nats-server -js, or jetstream {} in its settings, switches it on")
    answer = _asked(client, "$JS.API.INFO", {})
    if answer.get("error", {}).get("err_code") in NO_JETSTREAM:
        raise MediumError("JetStream is off for this user's account")
    must_be_done(answer)


def _provide(client: NatsClient, name: str, special: Settings, replicas: int, *, is_made: bool) -> Settings:
    """The settings of this stream, which is made if there is none and `is_made`.

    MediumError if there is none then, or one whose settings will not do.
    """
    answer = _asked(client, f"$JS.API.STREAM.INFO.{name}", {})
    if answer.get("error", {}).get("err_code") == NO_STREAM:
        if not is_made:
            raise MediumError(f"there is no stream {name}, and so no data of this name")
        wanted = _settings(name, special, replicas or (USUAL_REPLICAS if client.info.get("cluster") else 1))
        answer = _asked(client, f"$JS.API.STREAM.CREATE.{name}", wanted)
        if answer.get("error", {}).get("err_code") in TOO_FEW_NODES:
            count = wanted["num_replicas"]
            raise NotReady(
                f"{count} replicas need as many nodes of NATS that are up, in one cluster; ?replicas=1 does with one node"
            )
    must_be_done(answer)
    found: Settings = answer["config"]
    _must_do(found, _settings(name, special, replicas or found.get("num_replicas", 1)))
    return found


def _settings(name: str, special: Settings, replicas: int) -> Settings:
    """All settings of a stream on which something rests."""
    usual = {
        "name": name,
        "storage": "file",
        "retention": "limits",
        # What is full refuses what is new: it throws nothing away.
        "discard": "new",
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msg_size": -1,
        "max_msgs_per_subject": -1,
        "num_replicas": replicas,
        "allow_direct": True,
        "deny_purge": False,
    }
    return usual | special


def _must_do(found: Settings, wanted: Settings) -> None:
    """MediumError if a stream's settings differ from these, or it takes messages from elsewhere, or none any more."""
    for key, value in wanted.items():
        if found.get(key, value) != value:
            raise MediumError(
                f"the stream {wanted['name']} is there with {key} {json.dumps(found[key])}, and not {json.dumps(value)}: "
                "it stays as it is"
            )
    # By these it would not hold what was acknowledged, or hold what nobody has sent there.
    for key in ("sealed", "mirror", "sources", "subject_transform", "republish", "no_ack", "first_seq"):
        if found.get(key):
            raise MediumError(f"the stream {wanted['name']} is there with {key}: it stays as it is")
    if found.get("persist_mode", "default") not in ("", "default"):
        raise MediumError(f"the stream {wanted['name']} is there with persist_mode {found['persist_mode']}: it stays as it is")


def _asked(client: NatsClient, subject: str, body: Mapping[str, object]) -> dict[str, Any]:
    """The answer, which may be an error, when there is a leader to give it. What is asked may be asked twice."""
    deadline = time.monotonic() + CREATE_S
    while True:
        try:
            answer = client.ask(subject, body, ANSWER_S)
            if answer.get("error", {}).get("err_code") not in NOT_YET or time.monotonic() > deadline:
                return answer
        except Denied:
            raise
        except MediumError:
            if time.monotonic() > deadline:
                raise
        time.sleep(PAUSE_S)


def _must_be_let_write(client: NatsClient, subject: str) -> None:
    """Denied if this user may not append there. The condition of what is sent never holds, so that nothing is stored."""
    try:
        client.request(subject, b"", {EXPECTED_LAST: str(NEVER)}, ANSWER_S)
    except Denied:
        raise
    except MediumError:
        # Whoever appends will see.
        return


def _sync_interval_at(monitor: str) -> float | None:
    """The seconds between two syncs of a server (0: it syncs before it acknowledges), or None if it does not tell."""
    # They take longer to import than all else here, and few name a monitor.
    import urllib.request
    from http.client import HTTPException

    try:
        with urllib.request.urlopen(f"http://{monitor}/varz", timeout=MONITOR_S) as answer:
            settings = json.load(answer)["jetstream"]["config"]
        return 0.0 if settings.get("sync_always") else float(settings["sync_interval"]) / NANOSECONDS
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return None


def _promises(replicas: int, intervals: list[float | None], nodes: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What an acknowledged write survives, and what is to be told loudly, where there are so many nodes at least."""
    if replicas > 1:
        kill = f"a kill of any {(replicas - 1) // 2} of {replicas} nodes is survived, and of all, once most are back"
    else:
        kill = "a kill of the node is survived, once it is back"
    if not intervals or None in intervals:
        power = "power loss: unknown, since sync_interval is not known (?monitor=host:8222 lets it be read)"
        return (kill, power), (
            "sync_interval of NATS is not known: unless it is always, a power loss may take acknowledged writes",
        )
    longest = max(interval for interval in intervals if interval is not None)
    if longest == 0 and len(intervals) < nodes:
        told = f"power loss: sync_interval is always on {len(intervals)} of {nodes} nodes, and not known of the others"
        return (kill, told), (f"{told} (name each by ?monitor=host:8222,host2:8222)",)
    if longest == 0:
        return (kill, "a power loss of one node is survived, and of all: each syncs before it acknowledges"), ()
    lost = f"a power loss may take the acknowledged writes of the last {longest:g} s: sync_interval is not always"
    return (kill, lost), (lost,)
