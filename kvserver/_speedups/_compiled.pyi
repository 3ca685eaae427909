# Built from the files in C beside this one. The types of its functions are those of their twins.
from typing import Any

SOURCES: str
TWINS: str

def __getattr__(name: str) -> Any: ...
