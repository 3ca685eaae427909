"""The merge patch of RFC 7396, in steps: members that are null in a patch are removed, others are merged or replaced. Pure."""

from __future__ import annotations

from kvserver.data.steps import Steps
from kvserver.formats.codec import JSON
from kvserver.types.json.document import Document, Location
from kvserver.types.json.work import Work, pieces


def merge_patch(document: Document, place: Location, patch: JSON, work: Work) -> Steps[None]:
    """Merge a patch into the value at a location. What is in the patch belongs to the document from then on."""
    if type(patch) is not dict:
        document.put(place, patch)
        return
    # The patches that are objects, and where they go: an object is there.
    waiting: list[tuple[Location, dict[str, JSON]]] = []

    def go_on(at: Location, part: dict[str, JSON], value: JSON) -> None:
        if type(value) is not dict:
            document.put(at, {})
        waiting.append((at, part))

    go_on(place, patch, document.at(place))
    while waiting:
        at, part = waiting.pop()
        for names in pieces(list(part)):
            # A draft's own, so that it is the same after each change.
            target = document.dict_at(at)
            for name in names:
                member = part[name]
                if type(member) is dict:
                    go_on((*at, name), member, target.get(name))
                elif member is not None:
                    document.put((*at, name), member)
                elif name in target:
                    document.delete((*at, name))
            work.spend(len(names))
            if work.is_due():
                yield
