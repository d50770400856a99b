"""What of a run is too large for W&B, and is left out before anything is sent or stored.

wandb sends each row as one line, and so the whole summary. A line of more than 10,383,360 bytes it
skips without an error. The server would then have one row less than the log, of which the number
does not tell which one, and the summary would stay what it was. So values are left out here until
the line fits: all rows arrive, and what was left out is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.delivery.runs.transaction_log import path_of

if TYPE_CHECKING:
    from wandb.proto.wandb_internal_pb2 import (  # type: ignore[attr-defined]
        HistoryItem,
        HistoryRecord,
        Record,
        SummaryItem,
        SummaryRecord,
    )

# less than wandb's own limit, so that a line that is measured here a little too short fits too
MAX_BYTES = 10_000_000
# of the summary smaller values always stay; there is room for hundreds of them above `MAX_BYTES`
_SMALL = 1024
_MOST_NAMES = 3


class Oversized:
    """Takes what is too large for W&B out of the records of one log, which it must see in order.

    Attributes:
        n_rows: Number of rows of which a value was left out.
    """

    def __init__(self) -> None:
        self.n_rows = 0
        # as sets that keep their order
        self._of_rows: dict[str, None] = {}
        self._of_summary: dict[str, None] = {}
        # size of each value of the summary that is not small
        self._sizes: dict[tuple[str, ...], int] = {}

    def remove_from(self, record: Record) -> None:
        """Remove from a row its largest values until it fits; from the summary what is too much."""
        n_bytes = record.ByteSize()
        if n_bytes <= _SMALL and not (self._sizes or self._of_summary):
            return
        kind = record.WhichOneof("record_type")
        # a line has at most twice as many bytes as its record, if all of its names are nested
        if kind == "history" and n_bytes > MAX_BYTES // 2:
            self._shorten_row(record.history)
        elif kind == "summary":
            self._shorten_summary(record.summary)

    def in_words(self) -> str:
        """What was left out, in words; empty if nothing was."""
        parts = []
        if self.n_rows:
            rows = f"{self.n_rows} row{'s' if self.n_rows > 1 else ''}"
            parts.append(
                f"{_listed(self._of_rows)} of {rows} (W&B takes no row of more than 10 MB)"
            )
        # a value that is too large for a row is so for the summary, and there is more to say
        beside = [name for name in self._of_summary if name not in self._of_rows]
        if beside:
            parts.append(
                f"{_listed(beside)} of the summary (W&B takes no summary of more than 10 MB)"
            )
        return " and ".join(parts)

    def _shorten_row(self, row: HistoryRecord) -> None:
        sizes = [_size(item) for item in row.item]
        left = sum(sizes)
        removed = set()
        for place in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
            if left <= MAX_BYTES:
                break
            removed.add(place)
            left -= sizes[place]
            self._of_rows[_name(row.item[place])] = None
        if removed:
            self.n_rows += 1
            kept = [item for place, item in enumerate(row.item) if place not in removed]
            del row.item[:]
            row.item.extend(kept)

    def _shorten_summary(self, summary: SummaryRecord) -> None:
        kept = []
        for item in summary.update:
            path, size = path_of(item), _size(item)
            before = self._forget(path)
            if size <= _SMALL:
                kept.append(item)
            elif sum(self._sizes.values()) + size <= MAX_BYTES:
                kept.append(item)
                self._sizes[path] = size
            else:
                self._of_summary[_name(item)] = None
                if before:  # the earlier value stays
                    self._sizes[path] = before
        if len(kept) < len(summary.update):
            del summary.update[:]
            summary.update.extend(kept)
        for removed in summary.remove:
            self._forget(path_of(removed))

    def _forget(self, path: tuple[str, ...]) -> int:
        """Forget a value of the summary that another replaces, or none; return its size."""
        self._of_summary.pop(".".join(path), None)
        return self._sizes.pop(path, 0)


def _size(item: HistoryItem | SummaryItem) -> int:
    """At least the number of bytes of an item in a line."""
    return int(item.ByteSize()) + 6 * len(item.nested_key)


def _name(item: HistoryItem | SummaryItem) -> str:
    return ".".join(path_of(item))


def _listed(names: Iterable[str]) -> str:
    known = [f"'{name}'" for name in names]
    more = len(known) - _MOST_NAMES
    return ", ".join(known[:_MOST_NAMES]) + (f" and {more} more values" if more > 0 else "")
