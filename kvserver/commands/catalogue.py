"""The catalogue of commands: it imports every family of commands, those of the data types as well, one line a family.

The import is all that a family needs: each module that stands in this one is a family. No other file names all of them,
and this one must never import anything else as a module.
"""

# The imports are used, by way of `globals`.
# ruff: noqa: F401

from __future__ import annotations

from types import ModuleType
from typing import Final

from kvserver.commands import (
    acl,
    client,
    client_control,
    cluster,
    command,
    config,
    connection,
    databases,
    debug,
    dump,
    expiry,
    history,
    info,
    keys,
    latency,
    memory,
    migrate,
    module,
    object,
    persistence,
    pubsub,
    replication,
    scan,
    sentinel,
    server,
    slowlog,
    sort,
    tracking,
    transactions,
)
from kvserver.dispatch.command import gather
from kvserver.scripting import commands as scripting
from kvserver.scripting import function_commands as functions
from kvserver.types.hash import commands as hash
from kvserver.types.hash import field_expiry
from kvserver.types.json import arrays as json_arrays
from kvserver.types.json import booleans as json_booleans
from kvserver.types.json import commands as json
from kvserver.types.json import inspection as json_inspection
from kvserver.types.json import numbers as json_numbers
from kvserver.types.json import objects as json_objects
from kvserver.types.json import strings as json_strings
from kvserver.types.list import blocking as list_blocking
from kvserver.types.list import commands as lists
from kvserver.types.set import algebra as set_algebra
from kvserver.types.set import commands as set
from kvserver.types.sorted_set import algebra as sorted_set_algebra
from kvserver.types.sorted_set import blocking as sorted_set_blocking
from kvserver.types.sorted_set import commands as sorted_sets
from kvserver.types.sorted_set import geo
from kvserver.types.sorted_set import ranges as sorted_set_ranges
from kvserver.types.stream import blocking as stream_blocking
from kvserver.types.stream import claims as stream_claims
from kvserver.types.stream import commands as streams
from kvserver.types.stream import group_reading as stream_group_reading
from kvserver.types.stream import groups as stream_groups
from kvserver.types.stream import pending as stream_pending
from kvserver.types.stream import reading as stream_reading
from kvserver.types.stream import stream_info
from kvserver.types.string import (
    bitfields,
    bits,
    bounded_counters,
    conditions,
    counters,
    hyperloglogs,
    lcs,
    ranges,
)
from kvserver.types.string import commands as strings

# Under pytest, which rewrites the modules of a package with a plugin, there are names of its own among these.
FAMILIES: Final = tuple(
    each for each in globals().values() if isinstance(each, ModuleType) and each.__name__.startswith("kvserver.")
)

# Every command there is where nodes share an engine, by its name in lower case, in the order of names; and what others have.
COMMANDS_WITH_ENGINE: Final = gather(FAMILIES)
COMMANDS: Final = {name: each for name, each in COMMANDS_WITH_ENGINE.items() if not each.needs_engine}
