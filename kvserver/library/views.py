"""The views of a KVStore that `items` and `values` give: as safe to go through, while others write, as the store itself."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView

from kvserver.formats.codec import JSON

Pairs = Callable[[], Iterator[tuple[str, JSON]]]


class Items(ItemsView[str, JSON]):
    """The keys and values of a mapping; `pairs` gives them anew at each call."""

    def __init__(self, mapping: Mapping[str, JSON], pairs: Pairs) -> None:
        super().__init__(mapping)
        self._pairs = pairs

    def __iter__(self) -> Iterator[tuple[str, JSON]]:
        return self._pairs()

    def __contains__(self, item: object) -> bool:
        # What is no pair, or none of a str, is not there: the mapping need not be asked.
        if not isinstance(item, tuple) or len(item) != 2 or not isinstance(item[0], str):
            return False
        return super().__contains__(item)


class Values(ValuesView[JSON]):
    """The values of a mapping; `pairs` gives them, with their keys, anew at each call."""

    def __init__(self, mapping: Mapping[str, JSON], pairs: Pairs) -> None:
        super().__init__(mapping)
        self._pairs = pairs

    def __iter__(self) -> Iterator[JSON]:
        return (value for _, value in self._pairs())

    def __contains__(self, value: object) -> bool:
        return any(found is value or found == value for found in self)
