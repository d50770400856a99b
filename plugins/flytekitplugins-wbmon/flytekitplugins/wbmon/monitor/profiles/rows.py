"""What is known about each row beside its values: its weight, its time, how texts are embedded."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.arguments import is_moment, moment
from flytekitplugins.wbmon.data.arrow import dense_numbers
from flytekitplugins.wbmon.data.columns import as_column
from flytekitplugins.wbmon.data.objects import value_type
from flytekitplugins.wbmon.data.readings import read_as
from flytekitplugins.wbmon.data.scalars import is_missing
from flytekitplugins.wbmon.data.times import Counted, batch_times
from flytekitplugins.wbmon.data.weights import check_weights
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.profiles.facets import AGE, MEANING, Embed
from flytekitplugins.wbmon.monitor.profiles.profile import Profile
from flytekitplugins.wbmon.names import listed_names, quoted_name
from flytekitplugins.wbmon.stats.arrays import Floats


class Rows(NamedTuple):
    """What is known about each row beside its values.

    Attributes:
        weight: Column of the weights; empty if rows are not weighted.
        at: Column of the times, or the time of all rows; empty if it is not known.
        embed: By column of text, what turns texts into vectors.
    """

    weight: str = ""
    at: str | datetime = ""
    embed: Mapping[str, Embed] = MappingProxyType({})

    @property
    def columns(self) -> list[str]:
        """The columns to be read."""
        return [name for name in (self.weight, self.at) if isinstance(name, str) and name]

    @property
    def time_columns(self) -> list[str]:
        """The column of the times, if there is one."""
        return [self.at] if isinstance(self.at, str) and self.at else []

    def weights(self, batch: pa.RecordBatch) -> Floats | None:
        """Weight of each row; None if rows are not weighted.

        Raises:
            DataError: If a weight is missing or no number, or neither 0 nor in [1e-100, 1e100].
        """
        if not self.weight:
            return None
        array = batch.column(self.weight)
        reading = read_as("number", array)
        n_missing = reading.values.null_count
        if n_missing:
            found = "".join(f", such as {quoted_name(text)}" for text in reading.examples[:1])
            raise DataError(
                f"weight column {self.weight!r} must hold a number in every row, got "
                f"{value_type(array.type)} with {n_missing} that have none{found}; fill or drop "
                "those rows"
            )
        weights = np.asarray(dense_numbers(reading.values), dtype=np.float64)
        check_weights(weights, self.weight)
        return weights

    def times(self, batch: pa.RecordBatch, counted: list[Counted] | None = None) -> Floats | None:
        """Time of each row in seconds since 1970; None if not known.

        It is nan where it is missing or cannot be read. Whoever has all batches refuses too many.

        Args:
            batch: The rows.
            counted: Takes how many values of the column there are, and which cannot be read.

        Raises:
            DataError: If the column is of a type that holds no times.
        """
        if not self.at:
            return None
        if isinstance(self.at, datetime):
            return np.full(batch.num_rows, self.at.timestamp())
        times = batch_times(batch.column(self.at), self.at)
        if counted is not None:
            counted.append((times.n_known, times.unreadable))
        return times.values


def rows_like(
    like: Profile | None,
    *,
    weight: str | None = None,
    at: str | datetime | None = None,
    embed: Mapping[str, Embed] | None = None,
) -> Rows:
    """What is known about each row; what is not given is as in the reference.

    Raises:
        ConfigError: If `at` is a time that is none, such as NaT.
    """
    if like is not None:
        weight = like.weight if weight is None else weight
        at = like.at if at is None else at
    return Rows(
        as_column(weight) or "",
        moment("at", at) if _is_time(at) else as_column(at) or "",
        {str(name): function for name, function in (embed or {}).items()},
    )


def _is_time(at: Any) -> bool:
    """Whether it is a time, also one that is none, and not a column or nothing."""
    return is_moment(at) or (at is not None and is_missing(at))


def require_facets(like: Profile, rows: Rows) -> None:
    """Check that ages and the meaning of texts are counted if, and only if, the reference has them.

    Raises:
        DataError: If they are not.
    """
    # a field of a struct may have either name
    aged = [n for n, item in like.features.items() if item.kind == "time" and AGE in item.facets]
    if aged and not rows.at:
        raise DataError(
            f"the reference has the age of {listed_names(aged)}, so the window needs its time: "
            "give at=, its end or the column with the time of each row"
        )
    meant = [
        n for n, item in like.features.items() if item.kind == "text" and MEANING in item.facets
    ]
    without = [name for name in meant if name not in rows.embed]
    if without:
        raise DataError(
            f"the reference has vectors of the texts in {listed_names(without)}, so the window "
            "needs them, too: profile it with embed= and the same function"
        )
    unknown = [name for name in rows.embed if name not in meant]
    if unknown:
        raise DataError(
            f"embed must name columns of text whose vectors the reference has, which "
            f"{listed_names(unknown)} has not; profile the reference with the same embed="
        )
