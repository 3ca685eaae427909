"""Every family of commands and every data type, a line each: the one list to add to.

The only file that names all of them.
"""

from __future__ import annotations

from typing import Final

from kvserver.commands import (
    acl,
    client,
    client_control,
    connection,
    dump,
    expiry,
    info,
    keys,
    latency,
    memory,
    persistence,
    pubsub,
    scan,
    server,
    slowlog,
    transactions,
)
from kvserver.commands import command as introspection
from kvserver.commands import config as configuration
from kvserver.commands import object as objects
from kvserver.dispatch.command import gather
from kvserver.types.json import commands as json
from kvserver.types.string import bitfields, bits, counters, lcs, ranges
from kvserver.types.string import commands as strings

FAMILIES = (
    strings,
    counters,
    ranges,
    bits,
    bitfields,
    lcs,
    keys,
    expiry,
    scan,
    dump,
    objects,
    transactions,
    pubsub,
    connection,
    client,
    client_control,
    json,
    persistence,
    configuration,
    introspection,
    info,
    acl,
    latency,
    server,
    slowlog,
    memory,
)

# Every command there is, by its name in lower case, in the order of names.
COMMANDS: Final = gather(FAMILIES)
