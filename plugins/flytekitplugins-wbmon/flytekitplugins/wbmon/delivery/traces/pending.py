"""The records of a Weave spool, the status of each, and the requests that send them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from flytekitplugins.wbmon.delivery.traces.spool import CONFIRMED, RECORDS, REJECTED, RESULT
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.storage.json_text import read_json
from flytekitplugins.wbmon.storage.room import append_whole, find_scratch, scratch_folder

logger = logging.getLogger(__name__)

BATCH_CALLS = 200
# calls refer to these, so they go before calls
_FIRST = ("file_create", "obj_create", "table_create", "table_create_from_digests")
# these refer to calls or objects, so they go after both
_LATER = ("call_update", "feedback_create", "cost_create", "obj_set_aliases")


class DrainResult(NamedTuple):
    """Result of sending a spool.

    Attributes:
        n_sent: Number of records that the server confirmed, now or earlier.
        n_left: Number of records that are still to be sent.
        n_rejected: Number of records that the server rejected for good.
        reason: Why records are left; empty if none are.
    """

    n_sent: int
    n_left: int
    n_rejected: int = 0
    reason: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether no record is left to send; some may have been rejected."""
        return self.n_left == 0


@dataclass(frozen=True, slots=True)
class Batch:
    """One request.

    Attributes:
        kind: `calls`, or the type of the one record.
        body: List of calls, or the request of the one record.
        lines: Line numbers in the spool, from 0, of the records that it covers.
    """

    kind: str
    body: Any
    lines: tuple[int, ...]


def count_confirmed(folder: Path) -> int:
    """Number of records of a spool that the server has confirmed."""
    return len({n for noted in _lines(folder / CONFIRMED) for n in noted["lines"]})


def read_result(folder: Path) -> DrainResult:
    """Result of the worker that sends a spool; counted from the spool if the worker wrote none."""
    path = find_scratch(folder, RESULT) or folder / RESULT
    try:
        return DrainResult(**read_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        pending = PendingRecords(folder=folder)
        pending.refresh()
        return pending.result("the process that sends them did not end in time")


def write_result(folder: Path, result: DrainResult) -> None:
    """Write the result for `read_result`; elsewhere if the disk of the spool is full."""
    text = json.dumps(result._asdict())
    try:
        (folder / RESULT).write_text(text, encoding="utf-8")
    except OSError:
        (scratch_folder(folder) / RESULT).write_text(text, encoding="utf-8")


@dataclass(slots=True, kw_only=True)
class PendingRecords:
    """The records of a spool that wait, and the status of the others.

    Attributes:
        folder: Folder of the spool.
        waiting: Records neither confirmed nor rejected, by line number, in order.
        n_lines: Number of complete lines read so far.
        done: Numbers of the lines that the server confirmed.
        rejected: Numbers of the lines that the server rejected for good.
        offset: Number of bytes read so far.
    """

    folder: Path
    waiting: dict[int, dict[str, Any]] = field(default_factory=dict)
    n_lines: int = 0
    done: set[int] = field(init=False)
    rejected: set[int] = field(init=False)
    offset: int = 0

    def __post_init__(self) -> None:
        self.done = {n for noted in _lines(self.folder / CONFIRMED) for n in noted["lines"]}
        self.rejected = {n for noted in _lines(self.folder / REJECTED) for n in noted["lines"]}

    def refresh(self) -> None:
        """Read the lines written since the last call; an incomplete last one is left for later."""
        with (self.folder / RECORDS).open("rb") as file:
            file.seek(self.offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.offset += len(whole)
        for line in whole.splitlines():
            if self.n_lines not in self.done and self.n_lines not in self.rejected:
                self.waiting[self.n_lines] = read_json(line)
            self.n_lines += 1

    def batches(self, *, is_over: bool) -> Iterator[Batch]:
        """The requests to send, in order; see `SpoolDrain.run` for `is_over`."""
        # a copy, because `confirm` removes records while the caller iterates
        waiting = list(self.waiting.items())
        for number, record in waiting:
            if record["type"] in _FIRST:
                yield Batch(record["type"], record["req"], (number,))
        yield from self._call_batches(is_over=is_over)
        for number, record in waiting:
            if record["type"] in _LATER:
                yield Batch(record["type"], record["req"], (number,))

    def confirm(self, batch: Batch) -> None:
        """Save that the server confirmed a batch."""
        self.done.update(batch.lines)
        self._forget(batch.lines)
        _append(self.folder / CONFIRMED, {"lines": batch.lines})

    def reject(self, batch: Batch, reason: str) -> None:
        """Save, and log, that the server rejected a batch for good."""
        logger.warning("Weave refuses a %s for good: %s", batch.kind, reason)
        self.rejected.update(batch.lines)
        self._forget(batch.lines)
        _append(self.folder / REJECTED, {"lines": batch.lines, "reason": reason})

    def result(self, reason: str) -> DrainResult:
        """The counts so far; `reason` is dropped if no record is left."""
        n_left = len(self.waiting)
        return DrainResult(len(self.done), n_left, len(self.rejected), reason if n_left else "")

    def split(self, batch: Batch) -> list[Batch]:
        """The calls of a batch as batches of one."""
        lines: dict[str, list[int]] = {}
        for number in batch.lines:
            record = self.waiting[number]
            part = record["req"]["start" if record["type"] == "call_start" else "end"]
            lines.setdefault(part["id"], []).append(number)
        return [Batch("calls", [call], tuple(lines[call["id"]])) for call in batch.body]

    def _forget(self, lines: Sequence[int]) -> None:
        for number in lines:
            self.waiting.pop(number, None)

    def _call_batches(self, *, is_over: bool) -> Iterator[Batch]:
        batch: list[dict[str, Any]] = []
        lines: list[int] = []
        # a list, because `confirm` removes records while the caller iterates
        for call, numbers in list(self._calls(is_over=is_over)):
            batch.append(call)
            lines += numbers
            if len(batch) == BATCH_CALLS:
                yield Batch("calls", batch, tuple(lines))
                batch, lines = [], []
        if batch:
            yield Batch("calls", batch, tuple(lines))

    def _calls(self, *, is_over: bool) -> Iterator[tuple[dict[str, Any], list[int]]]:
        """Each call that has ended, from its two records, with their line numbers."""
        begun: dict[str, tuple[int, dict[str, Any]]] = {}
        last = ""
        for number, record in self.waiting.items():
            if record["type"] == "call_start":
                start = record["req"]["start"]
                begun[start["id"]] = (number, start)
                last = start["started_at"]
            elif record["type"] == "call_end":
                end = record["req"]["end"]
                last = end["ended_at"]
                first = begun.pop(end["id"], None)
                if first is not None:
                    yield _complete(first[1], end), [first[0], number]
        if is_over:
            # nobody knows when they ended; the last event in the spool is the latest known time
            for number, start in begun.values():
                yield _complete(start, _cut_off(last)), [number]


def _complete(start: dict[str, Any], end: dict[str, Any]) -> dict[str, Any]:
    names = ("ended_at", "exception", "output", "summary", "wb_run_step_end")
    return {**start, **{name: end.get(name) for name in names}}


def _cut_off(at: str) -> dict[str, Any]:
    exception = {"type": "Interrupted", "message": "the process ended before the call did"}
    return {"ended_at": at, "exception": json.dumps(exception), "output": None, "summary": {}}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The complete lines of a file; an incomplete last one is left out."""
    with suppress(FileNotFoundError):
        text = path.read_bytes()
        try:
            yield from map(read_json, text[: text.rfind(b"\n") + 1].splitlines())
        except ValueError as error:
            raise DataError(
                f"{path.name} must be lines of JSON, or what was sent is not known: {error}. "
                "Remove the file to send all of it again"
            ) from error


def _append(path: Path, noted: dict[str, Any] | Sequence[Any]) -> None:
    try:
        with path.open("ab", buffering=0) as file:
            append_whole(file, json.dumps(noted).encode() + b"\n")
    except OSError as error:
        # the rest must still be sent; if this process dies, this is sent again
        logger.warning("what Weave has confirmed could not be noted: %s", error)
