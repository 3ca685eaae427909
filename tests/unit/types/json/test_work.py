"""The work of a command ends in an error when there is too much of it, and in steps of about the same length."""

from __future__ import annotations

import pytest

from kvserver.errors import CommandError
from kvserver.types.json.work import MOST_WORK, PIECE_VALUES, STEP_VALUES, Work, pieces


def test_too_much_work_is_refused() -> None:
    work = Work(10)
    work.spend(10)
    with pytest.raises(CommandError, match="path looks at too many values"):
        work.spend(1)
    Work.unlimited().spend(100 * MOST_WORK)


@pytest.mark.parametrize("values", [0, 1, 100, 5000])
def test_step_ends_when_enough_was_looked_at(values: int) -> None:
    work = Work.unlimited()
    steps = 0
    for _ in range(1000):
        work.spend(values)
        steps += work.is_due()
    expected = 1000 * (values + PIECE_VALUES) / STEP_VALUES
    assert min(expected, 1000) == pytest.approx(steps, rel=0.2)


def test_pieces_are_all_of_a_list() -> None:
    assert [*pieces([1, 2, 3, 4, 5], 2)] == [[1, 2], [3, 4], [5]]
    assert [*pieces([])] == []
