"""The data types, a folder each with its value and its commands. This module lists their kinds, and has the mappings.

All code that reads or writes payloads takes the mapping from here, so that no tag is ever read without its kind.
"""

from typing import Final

from kvserver.data.kinds import register
from kvserver.formats.tags import Mapping, Plain, Tagged
from kvserver.types.hash.value import HASH
from kvserver.types.json.value import DOCUMENT
from kvserver.types.list.value import LIST
from kvserver.types.set.value import SET
from kvserver.types.sorted_set.value import SORTED_SET
from kvserver.types.stream.value import STREAM
from kvserver.types.string.value import STRING

register(STRING)
register(DOCUMENT)
register(HASH)
register(LIST)
register(SORTED_SET)
register(SET)
register(STREAM)

PLAIN: Final[Mapping] = Plain()
TAGGED: Final[Mapping] = Tagged()
