"""Which rows of a log a run has at W&B, by their content: rows of others are not taken for ours."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from flytekitplugins.wbmon.delivery.runs.api import RunTarget, WandbApi

# of ours; there may be rows of others between them
_ROWS_OF_A_PAGE = 500
_MOST_OF_A_PAGE = 10 * _ROWS_OF_A_PAGE

# time and running time, each in milliseconds: two processes do not agree in both
_Mark = tuple[int, int]


class RowMarks:
    """Step, time and running time of each row of a log, in its order."""

    def __init__(self) -> None:
        self.steps = array("q")
        self._times = array("d")
        self._runtimes = array("d")

    def __len__(self) -> int:
        return len(self.steps)

    def append(self, step: int, values: Mapping[str, Any]) -> None:
        """Add a row.

        Args:
            step: Its step.
            values: Its values by key; `_timestamp` and `_runtime` are used.
        """
        self.steps.append(step)
        self._times.append(_number(values.get("_timestamp")))
        self._runtimes.append(_number(values.get("_runtime")))

    @property
    def last_time(self) -> float:
        """The largest time of a row, in seconds since 1970; 0 if there is none."""
        return max(self._times, default=0.0)

    def mark(self, number: int) -> _Mark:
        """What tells a row from the rows of others."""
        return _mark(self._times[number], self._runtimes[number])


def arrived_rows(
    api: WandbApi, target: RunTarget, rows: RowMarks, steps: Sequence[int]
) -> frozenset[int]:
    """Numbers of the rows that the server has.

    Args:
        api: The server.
        target: The run.
        rows: The rows of the log.
        steps: The step of each at the server.

    Raises:
        PublishError: If the server does not answer.
    """
    found: set[int] = set()
    in_order = iter(sorted(range(len(rows)), key=lambda number: steps[number]))
    while page := list(islice(in_order, _ROWS_OF_A_PAGE)):
        marks = Counter(_marks(api, target, steps[page[0]], steps[page[-1]]))
        for number in page:
            mark = rows.mark(number)
            if marks[mark] > 0:
                marks[mark] -= 1
                found.add(number)
    return frozenset(found)


def _marks(api: WandbApi, target: RunTarget, first: int, last: int) -> Iterator[_Mark]:
    rows = api.read_rows(target, first, last, most=_MOST_OF_A_PAGE)
    if len(rows) < _MOST_OF_A_PAGE or first == last:
        for row in rows:
            yield _mark(_number(row.get("_timestamp")), _number(row.get("_runtime")))
        return
    middle = (first + last) // 2
    yield from _marks(api, target, first, middle)
    yield from _marks(api, target, middle + 1, last)


def _mark(time: float, runtime: float) -> _Mark:
    return round(time * 1000), round(runtime * 1000)


def _number(value: Any) -> float:
    # a user may log anything under these names
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0
