"""A usual call: what it takes, and what it gives.

A call takes the entry of a key, None if the key is missing; a request, whose second word is the key; the configuration; and
how many members a small collection has at most. It gives the reply, and the entry that the key has then: None where the key
goes, and where nothing has changed the very same one. It gives None where the case is not so usual: then nothing has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Request = list[bytes]
# The reply, which is an int, bytes, None, or True for OK; and the entry.
Found = tuple[Any, Any] | None
Call = Callable[[Any, Request, Any, int], Found]
