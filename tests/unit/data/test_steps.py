"""Work in steps gives the same result however it is driven."""

from __future__ import annotations

import pytest

from kvserver.data.steps import Steps, at_once, giving


def work(result: int, steps: int) -> Steps[int]:
    for _ in range(steps):
        yield
    if result < 0:
        raise ValueError("no result")
    return result


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_result_is_that_of_the_work(steps: int) -> None:
    assert at_once(work(5, steps)) == 5
    given = giving(b"", work(5, steps))
    assert [next(given) for _ in range(steps)] == [b""] * steps
    with pytest.raises(StopIteration) as raised:
        next(given)
    assert raised.value.value == 5


def test_failure_is_that_of_the_work() -> None:
    with pytest.raises(ValueError, match="no result"):
        at_once(work(-1, 2))
    with pytest.raises(ValueError, match="no result"):
        list(giving(None, work(-1, 2)))
