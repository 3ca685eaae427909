"""CLUSTER, READONLY, READWRITE, ASKING: what clients of Redis Cluster ask. They are refused as by a server without a cluster.

Each is declared with its words, so that a wrong call has the error of its own and COMMAND knows it. Nothing here is run.
"""

from __future__ import annotations

from functools import partial
from typing import Final, NoReturn

from kvserver.dispatch.command import Command, container
from kvserver.errors import CommandError
from kvserver.resp.request import Request
from kvserver.state.session import Session

DISABLED: Final = "ERR This instance has cluster support disabled"
_ADMIN: Final = "admin stale no_async_loading"
_RANGES: Final = "start-slot_end-slot{start-slot:integer end-slot:integer}+"
_OF_RANGES: Final = "O(N) where N is the total number of the slots between the start slot and end slot arguments."
_OF_SLOTS: Final = "O(N) where N is the total number of hash slot arguments"
_OF_NODES: Final = "O(N) where N is the total number of Cluster nodes"
_VARIES: Final = "nondeterministic_output"


def _refuse(session: Session, request: Request) -> NoReturn:
    raise CommandError(DISABLED)


_refused = partial(Command, _refuse, group="cluster")
_connection = partial(Command, _refuse, since="3.0.0", group="cluster", complexity="O(1)", categories="connection")

asking = _connection("asking", "", "fast", summary="Sent by cluster clients after an -ASK redirect")
readonly = _connection(
    "readonly", "", "loading stale fast", summary="Enables read queries for a connection to a cluster replica node"
)
readwrite = _connection(
    "readwrite", "", "loading stale fast", summary="Disables read queries for a connection to a cluster replica node"
)
cluster = container("cluster", since="3.0.0", group="cluster", summary="A container for cluster commands")

# fmt: off
addslots = _refused("cluster|addslots", "slot:integer+", _ADMIN,
                    since="3.0.0", complexity=_OF_SLOTS,
                    summary="Assign new hash slots to receiving node")
addslotsrange = _refused("cluster|addslotsrange", _RANGES, _ADMIN,
                         since="7.0.0", complexity=_OF_RANGES,
                         summary="Assign new hash slots to receiving node")
bumpepoch = _refused("cluster|bumpepoch", "", _ADMIN,
                     since="3.0.0", complexity="O(1)", tips=_VARIES,
                     summary="Advance the cluster config epoch")
count_failure_reports = _refused("cluster|count-failure-reports", "node-id", "admin stale",
                                 since="3.0.0", complexity="O(N) where N is the number of failure reports", tips=_VARIES,
                                 summary="Return the number of failure reports active for a given node")
countkeysinslot = _refused("cluster|countkeysinslot", "slot:integer", "stale",
                           since="3.0.0", complexity="O(1)",
                           summary="Return the number of local keys in the specified hash slot")
delslots = _refused("cluster|delslots", "slot:integer+", _ADMIN,
                    since="3.0.0", complexity=_OF_SLOTS,
                    summary="Set hash slots as unbound in receiving node")
delslotsrange = _refused("cluster|delslotsrange", _RANGES, _ADMIN,
                         since="7.0.0", complexity=_OF_RANGES,
                         summary="Set hash slots as unbound in receiving node")
failover = _refused("cluster|failover", "options<FORCE|TAKEOVER>?", _ADMIN,
                    since="3.0.0", complexity="O(1)",
                    summary="Forces a replica to perform a manual failover of its master.")
flushslots = _refused("cluster|flushslots", "", _ADMIN,
                      since="3.0.0", complexity="O(1)",
                      summary="Delete a node's own slots information")
forget = _refused("cluster|forget", "node-id", _ADMIN,
                  since="3.0.0", complexity="O(1)",
                  summary="Remove a node from the nodes table")
getkeysinslot = _refused("cluster|getkeysinslot", "slot:integer count:integer", "stale",
                         since="3.0.0", complexity="O(log(N)) where N is the number of requested keys", tips=_VARIES,
                         summary="Return local key names in the specified hash slot")
cluster_help = _refused("cluster|help", "", "loading stale",
                        since="5.0.0", complexity="O(1)",
                        summary="Show helpful text about the different subcommands")
info = _refused("cluster|info", "", "stale",
                since="3.0.0", complexity="O(1)", tips=_VARIES,
                summary="Provides info about Redis Cluster node state")
keyslot = _refused("cluster|keyslot", "key", "stale",
                   since="3.0.0", complexity="O(N) where N is the number of bytes in the key",
                   summary="Returns the hash slot of the specified key")
links = _refused("cluster|links", "", "stale",
                 since="7.0.0", complexity=_OF_NODES, tips=_VARIES,
                 summary="Returns a list of all TCP links to and from peer nodes in cluster")
meet = _refused("cluster|meet", "ip port:integer cluster_bus_port:integer?@4.0.0", _ADMIN,
                since="3.0.0", complexity="O(1)",
                summary="Force a node cluster to handshake with another node")
myid = _refused("cluster|myid", "", "stale",
                since="3.0.0", complexity="O(1)",
                summary="Return the node id")
nodes = _refused("cluster|nodes", "", "stale",
                 since="3.0.0", complexity=_OF_NODES, tips=_VARIES,
                 summary="Get Cluster config for the node")
replicas = _refused("cluster|replicas", "node-id", "admin stale",
                    since="5.0.0", complexity="O(1)", tips=_VARIES,
                    summary="List replica nodes of the specified master node")
replicate = _refused("cluster|replicate", "node-id", _ADMIN,
                     since="3.0.0", complexity="O(1)",
                     summary="Reconfigure a node as a replica of the specified master node")
reset = _refused("cluster|reset", "hard_soft<HARD|SOFT>?", "admin noscript stale",
                 since="3.0.0",
                 complexity="O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a side effect.",
                 summary="Reset a Redis Cluster node")
saveconfig = _refused("cluster|saveconfig", "", _ADMIN,
                      since="3.0.0", complexity="O(1)",
                      summary="Forces the node to save cluster state on disk")
set_config_epoch = _refused("cluster|set-config-epoch", "config-epoch:integer", _ADMIN,
                            since="3.0.0", complexity="O(1)",
                            summary="Set the configuration epoch in a new node")
setslot = _refused("cluster|setslot",
                   "slot:integer subcommand<IMPORTING=node-id|MIGRATING=node-id|NODE=node-id|STABLE>", _ADMIN,
                   since="3.0.0", complexity="O(1)",
                   summary="Bind a hash slot to a specific node")
shards = _refused("cluster|shards", "", "stale",
                  since="7.0.0", complexity="O(N) where N is the total number of cluster nodes", tips=_VARIES,
                  summary="Get array of cluster slots to node mappings")
slaves = _refused("cluster|slaves", "node-id", "admin stale",
                  since="3.0.0", complexity="O(1)", tips=_VARIES, deprecated=("5.0.0", "`CLUSTER REPLICAS`"),
                  summary="List replica nodes of the specified master node")
slots = _refused("cluster|slots", "", "stale",
                 since="3.0.0", complexity=_OF_NODES, tips=_VARIES, deprecated=("7.0.0", "`CLUSTER SHARDS`"),
                 summary="Get array of Cluster slot to node mappings")
# fmt: on
