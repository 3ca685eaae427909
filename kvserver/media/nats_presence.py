"""The nodes that are there, in a key-value bucket of NATS JetStream that forgets what is older than some seconds.

It is kept in memory by the servers, so that a word of a node costs no write to a disk.
"""

from __future__ import annotations

import json
from typing import Final

from kvserver.media.nats_calls import ANSWER_S, ends_batch, must_be_done, parsed
from kvserver.media.nats_client import NatsClient
from kvserver.media.shared import Node, decode_node

# What a node has told is forgotten behind so many seconds.
AGE_S: Final = 5
MOST_NODES: Final = 1000
OPERATION: Final = "KV-Operation"


class NatsPresence:
    """The nodes in the bucket of this name, each at the key node.ID."""

    def __init__(self, client: NatsClient, bucket: str) -> None:
        self._client = client
        self._stream = f"KV_{bucket}"
        self._prefix = f"$KV.{bucket}.node."

    def tell(self, node: Node) -> None:
        self._put(node.id, json.dumps(node._asdict()).encode(), None)

    def nodes(self) -> list[Node]:
        # "*" for all nodes; a direct get of several subjects gives the last word of each.
        request = {"multi_last": [f"{self._prefix}*"], "batch": MOST_NODES}
        waiting = self._client.ask_for_many(f"$JS.API.DIRECT.GET.{self._stream}", request, ends_batch)
        *messages, _ = self._client.collect(waiting, ANSWER_S)
        told = [message.data for message in messages if OPERATION not in (message.headers or {})]
        return [node for node in map(decode_node, told) if node]

    def leave(self, node_id: str) -> None:
        self._put(node_id, b"", {OPERATION: "DEL"})

    def close(self) -> None:
        """Do nothing: the connection is the log's."""

    def _put(self, node_id: str, data: bytes, headers: dict[str, str] | None) -> None:
        must_be_done(parsed(self._client.request(f"{self._prefix}{node_id}", data, headers, ANSWER_S)))
