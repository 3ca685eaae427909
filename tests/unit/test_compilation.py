"""What mypyc is told changes nothing of a class that is interpreted."""

from __future__ import annotations

from kvserver.compilation import mypyc_attr


def test_class_stays_as_it_is() -> None:
    class Plain:
        pass

    assert mypyc_attr(allow_interpreted_subclasses=True)(Plain) is Plain
