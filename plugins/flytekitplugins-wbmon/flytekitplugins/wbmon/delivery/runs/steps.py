"""The steps that the rows of a log get at W&B, where a run may have rows before it.

An offline run counts its rows from 0, as it does not know what the server has. A step that the user
gave stays what it is; a step that wandb counted goes on after the last one, as it does online.
Steps of one log only rise: after rows that were counted on, a lower one that was given comes next,
as wandb sends it no other way (online it drops such a row).

The task notes in the file `steps.jsonl` of the run's folder from which step on they are given, and
from which on they are counted again: `[10, true]`, `[31, false]`. The first are counted.
"""

from __future__ import annotations

import bisect
import json
import logging
import operator
import threading
from pathlib import Path
from typing import Any

from flytekitplugins.wbmon.errors import DataError

logger = logging.getLogger(__name__)

FILE_NAME = "steps.jsonl"


class StepNotes:
    """Notes from which step on the rows of a run have a step that the task gave.

    Of an offline run, wandb's log does not tell whether a row's step was given (`log(step=...)`) or
    counted. A line is written before the first row that it is about; `GivenSteps` reads it.

    Args:
        folder: The run's folder; the file in it is created with the first line.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._lock = threading.Lock()
        self._next = 0
        self._is_given = False
        # wandb adds what is logged without a step to the row that was begun with a step
        self._is_open = False

    def note(self, step: Any, commit: bool | None) -> bool:
        """Note the arguments of a call of `log`, before it is made.

        Returns:
            False if wandb drops the row: its step is lower than that of the row before.
        """
        with self._lock:
            if step is None:
                self._counted(commit)
                return True
            try:
                return self._given(operator.index(step), commit)
            except TypeError:  # wandb refuses it
                return True

    def _counted(self, commit: bool | None) -> None:
        if self._is_given and not self._is_open:
            self._change(self._next, is_given=False)
        if commit is not False:
            self._is_open = False
            self._next += 1

    def _given(self, step: int, commit: bool | None) -> bool:
        if step < self._next:
            return False
        if not self._is_given:
            self._change(step, is_given=True)
        self._is_open = not commit
        self._next = step + 1 if commit else step
        return True

    def _change(self, step: int, *, is_given: bool) -> None:
        self._is_given = is_given
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([step, is_given]) + "\n")
        except OSError as error:
            logger.warning("W&B: cannot note which steps are the task's own (%s)", error)


class GivenSteps:
    """Tells the steps that the user gave from those that wandb counted.

    Args:
        folder: The run's folder; the file may still grow, or never come.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._size = 0
        self._from: list[int] = []
        self._is_given: list[bool] = []

    def has(self, step: int) -> bool:
        """Whether the user gave this step.

        Raises:
            DataError: If the file is damaged.
        """
        self._read_news()
        place = bisect.bisect_right(self._from, step)
        return place > 0 and self._is_given[place - 1]

    def _read_news(self) -> None:
        # the task writes a line before the row that it is about
        try:
            size = self._path.stat().st_size
        except OSError:
            return
        if size == self._size:
            return
        with self._path.open("rb") as file:
            file.seek(self._size)
            # what a killed process left of a line is about a row that it never wrote
            lines = file.read().rpartition(b"\n")[0]
        self._size += len(lines) + 1 if lines else 0
        try:
            for step, is_given in map(json.loads, lines.splitlines()):
                self._from.append(int(step))
                self._is_given.append(bool(is_given))
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{FILE_NAME} must tell which steps were given, and is damaged: {error}"
            ) from error


class SentSteps:
    """The steps of a log's rows at W&B, row by row.

    Args:
        first: Step of the first row that wandb counted; more than 0 for a resumed run.
        given: The steps that the user gave.
    """

    def __init__(self, first: int, given: GivenSteps) -> None:
        self._next = first
        self._lowest = 0
        self._given = given

    def of(self, step: int) -> int:
        """Step of the next row at W&B, of which `step` is the one in the log."""
        sent = max(step, self._lowest) if self._given.has(step) else self._next
        self._lowest = sent + 1
        self._next = max(self._next, self._lowest)
        return sent
