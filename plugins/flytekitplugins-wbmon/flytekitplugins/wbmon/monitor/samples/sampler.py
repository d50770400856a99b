"""Draws a stratified sample of rows for people to inspect; seeded and redacted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.arrow import kind_of
from flytekitplugins.wbmon.data.groups import (
    OTHER,
    Groups,
    edges_of,
    few_numbers,
    is_scalar,
    named_groups,
    ranges,
)
from flytekitplugins.wbmon.data.plain import plain_column
from flytekitplugins.wbmon.data.whole import lost_digits
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.samples.rows import Sample, SampledRows
from flytekitplugins.wbmon.names import listed_names
from flytekitplugins.wbmon.privacy.patterns import PatternRedactor, Redactor, redact_value

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_STRATA = 20
_MAX_COLUMNS = 100
_SHOWN = 200
_RANGES = 5
_LONG_NUMBER = 10**11
_MISSING, _ANY = "(missing)", "(any)"


class _Kept(NamedTuple):
    priority: int
    place: int
    row: Mapping[str, Any]


class RowSampler:
    """Keeps the rows with the smallest pseudo-random priority in each stratum.

    The priority depends only on the seed and the position of the row, so a retry draws the same
    rows. Strata are the values of the column; a numeric column with more than 20 values, or of
    floats that have lost digits, is divided at the quintiles of the first batch. Failed rows form
    one stratum for each exception class.

    Args:
        rule: How many rows to keep, which columns to show, and the column of the strata.
        redactor: Hides secrets and personal data; a `PatternRedactor` if None.
        weight: The column that says how many rows each row stands for by itself; empty for one.
    """

    def __init__(self, rule: Sample, redactor: Redactor | None = None, *, weight: str = "") -> None:
        self._rule, self._redactor = rule, redactor or PatternRedactor()
        self._weight = weight
        self._kept: dict[str, list[_Kept]] = {}
        self._sizes: dict[str, int] = {}
        self._edges: NDArray[Any] | None = None
        self._n = 0

    def add(self, scored: pa.Table, predicted: tuple[str, ...]) -> None:
        """Count a batch of scored rows.

        Args:
            scored: The rows with their predictions.
            predicted: The predicted columns; the first one defines the strata by default.

        Raises:
            DataError: If a column to show or the column of the strata is missing.
        """
        by = self._rule.by or predicted[0]
        self._require(scored, [by, *self._rule.columns])
        places = np.arange(self._n, self._n + scored.num_rows)
        self._n += scored.num_rows
        shown = self._shown(scored, (*predicted, by, *filter(None, [self._weight])))
        for stratum, inside in self._strata(scored[by]):
            self._add(stratum, shown, inside, places[inside])

    def add_failed(self, failed: pa.Table) -> None:
        """Count rows that could not be scored.

        Args:
            failed: The rows with `row`, `error_type` and `error`, as the quarantine stores them.
        """
        shown = self._shown(failed.drop_columns(["error_type"]), ("error",))
        places = np.asarray(failed["row"].to_numpy())
        kinds = np.asarray(failed["error_type"].to_pylist(), dtype=object)
        for kind in sorted(set(kinds.tolist())):
            inside = np.flatnonzero(kinds == kind)
            self._add(f"error: {kind}", shown, inside, places[inside])

    def record(self) -> SampledRows:
        """The sample: equally many rows of each stratum, or all rows of a smaller one."""
        # at most `rule.rows` are kept of a stratum, so its kept rows suffice for any share
        quotas = _shares({name: len(kept) for name, kept in self._kept.items()}, self._rule.rows)
        rows, columns = (
            [],
            dict.fromkeys(
                name for kept in self._kept.values() for each in kept[:1] for name in each.row
            ),
        )
        for stratum in sorted(quotas):
            chosen = sorted(self._kept[stratum])[: quotas[stratum]]
            for each in sorted(chosen, key=lambda kept: kept.place):
                hidden = redact_value(self._redactor, dict(each.row)).value
                stands_for = self._sizes[stratum] / len(chosen)
                if self._weight:
                    stands_for *= each.row[self._weight] or 1.0
                values = (self._shorten(hidden.get(name)) for name in columns)
                rows.append((self._shorten(stratum), each.place, stands_for, *values))
        return SampledRows(columns=("stratum", "row", "stands_for", *columns), rows=tuple(rows))

    def _shown(self, table: pa.Table, last: tuple[str, ...]) -> pa.Table:
        names = list(self._rule.columns or table.column_names[:_MAX_COLUMNS])
        names = [*names, *(name for name in dict.fromkeys(last) if name not in names)]
        # the position is a column of the sample; a row that failed has no prediction
        known = set(table.column_names) - {"row"}
        return table.select([name for name in names if name in known])

    def _require(self, scored: pa.Table, names: list[str]) -> None:
        missing = [name for name in names if name not in scored.column_names]
        if missing:
            raise DataError(
                f"the sample wants column {listed_names(missing)}; the scored data have "
                f"{listed_names(scored.column_names)}"
            )

    def _add(
        self, stratum: str, table: pa.Table, inside: NDArray[np.int64], places: NDArray[np.int64]
    ) -> None:
        # twice as many: the column may fill `_MAX_STRATA`, and exceptions come on top
        if stratum not in self._kept and len(self._kept) >= 2 * _MAX_STRATA:
            stratum = OTHER
        self._sizes[stratum] = self._sizes.get(stratum, 0) + len(inside)
        kept = self._kept.setdefault(stratum, [])
        priority = _priorities(places, self._rule.seed)
        # most rows lose here, before any of them is converted to Python objects
        if len(kept) == self._rule.rows:
            better = priority < kept[-1].priority
            inside, places, priority = inside[better], places[better], priority[better]
        first = np.argsort(priority)[: self._rule.rows]
        rows = table.take(pa.array(inside[first])).to_pylist()
        found = zip(priority[first].tolist(), places[first].tolist(), rows, strict=True)
        merged = [*kept, *(_Kept(*each) for each in found)]
        self._kept[stratum] = sorted(merged, key=lambda each: each.priority)[: self._rule.rows]

    def _strata(self, column: pa.ChunkedArray) -> Iterator[tuple[str, NDArray[np.int64]]]:
        array = plain_column(column).combine_chunks()
        if not is_scalar(array.type):
            yield _ANY, np.arange(len(array))
            return
        groups = self._groups(array)
        for code, name in enumerate([*groups.names, _MISSING]):
            inside = np.flatnonzero(groups.codes == (code if code < len(groups.names) else -1))
            if len(inside):
                known = name in self._kept or len(self._kept) < _MAX_STRATA
                yield name if known else OTHER, inside

    def _groups(self, array: pa.Array) -> Groups:
        """The values of the column; numbers of many values in ranges."""
        if kind_of(array.type) not in ("number", "duration"):
            return named_groups(array)
        # fixed by the first batch: the counts of strata could not follow edges that move
        if self._edges is None:
            few = few_numbers(array, _MAX_STRATA) is not None and not lost_digits(array)
            inner = np.arange(1, _RANGES) / _RANGES
            self._edges = np.empty(0) if few else edges_of(array, inner)
        return ranges(array, self._edges) if len(self._edges) else named_groups(array)

    def _shorten(self, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _LONG_NUMBER:
            # a long whole number may be the number of a card, an account or a phone
            hidden, n = self._redactor.text(str(value))
            return hidden if n else value
        if value is None or isinstance(value, bool | int | float):
            return value
        text = self._redactor.text(str(value))[0]
        return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _shares(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Rows to take from each stratum: equal shares, with unused ones passed to larger strata."""
    quotas: dict[str, int] = {}
    left = total
    # smallest first, so that what it leaves is divided among the larger ones
    for number, (name, size) in enumerate(sorted(sizes.items(), key=lambda item: item[1])):
        quotas[name] = min(size, left // (len(sizes) - number))
        left -= quotas[name]
    return {name: quota for name, quota in quotas.items() if quota}


def _priorities(places: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """Hash of each position with SplitMix64 (Steele, Lea & Flood, 2014), the same in every run."""
    # the hash is defined modulo 2**64, overflow is intended
    with np.errstate(over="ignore"):
        x = places.astype(np.uint64) + np.uint64(seed) * np.uint64(0xD1342543DE82EF95)
        x = (x + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
