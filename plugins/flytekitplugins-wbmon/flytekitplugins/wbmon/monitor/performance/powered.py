"""Metrics of few labels and many proxies: the rows are read, and the intervals joined."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.arrow import is_valid, kind_of
from flytekitplugins.wbmon.data.columns import read_numbers
from flytekitplugins.wbmon.data.objects import value_type
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.performance.metrics import Measured, confusion_of, values_of
from flytekitplugins.wbmon.monitor.performance.outcomes import Outcomes
from flytekitplugins.wbmon.monitor.performance.proxies import Proxies
from flytekitplugins.wbmon.names import quoted_name
from flytekitplugins.wbmon.stats.class_losses import brier_losses, log_losses
from flytekitplugins.wbmon.stats.classification import accuracy_share
from flytekitplugins.wbmon.stats.estimate import Estimate
from flytekitplugins.wbmon.stats.prediction_powered import (
    Powered,
    ProxyRows,
    powered_mean,
    powered_share,
    proxy_difference,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

ReadWith = Callable[[str | None], Outcomes]


class PoweredMetrics(NamedTuple):
    """Metrics that proxies made more certain.

    Attributes:
        metrics: Estimates by metric.
        gains: By metric, how many times as many labels alone would have the same variance.
    """

    metrics: Measured
    gains: dict[str, float]


def read_proxies(table: pa.Table, outcomes: Outcomes, proxy: str, read_with: ReadWith) -> Proxies:
    """The losses by proxy of all rows with a prediction.

    Args:
        table: The window.
        outcomes: Its measured rows.
        proxy: Column of the proxy: classes, or of two classes the probability of the positive one;
            of a regression, values.
        read_with: Reads the window with a column as its labels; with None, all rows that have a
            prediction.

    Raises:
        DataError: If probabilities are outside [0, 1], or the column does not fit the labels.
    """
    everything = read_with(None)
    places, losses = _losses(table, outcomes, everything, proxy, read_with)
    known = np.zeros(len(everything.rows), dtype=bool)
    known[places] = True
    given = np.concatenate([is_valid(chunk) for chunk in table[proxy].chunks])
    odd = given[everything.rows] & ~known
    first = everything.rows[odd.argmax()] if odd.any() else None
    return Proxies(
        name=proxy,
        rows=everything.rows,
        losses={name: _filled(values, places) for name, values in losses.items()},
        known=known,
        odd=odd,
        example="" if first is None else quoted_name(str(table[proxy][int(first)].as_py())),
        weight=everything.weight,
    )


def powered_metrics(outcomes: Outcomes, measured: Measured) -> PoweredMetrics:
    """The metrics that are means over rows, from labels and proxies together.

    Args:
        outcomes: The measured rows, with proxies.
        measured: The metrics by the labels alone; one without an interval stays as it is.
    """
    found = {
        name: powered
        for name, powered in _powered(outcomes)
        if name in measured
        and not math.isnan(measured[name].low)
        and not math.isnan(powered.estimate.low)
        and powered.tuning
    }
    return PoweredMetrics(
        {name: each.estimate for name, each in found.items()},
        {name: each.gain for name, each in found.items()},
    )


def labels_differ_by(outcomes: Outcomes) -> float:
    """Z statistic of how much proxies of labelled rows differ from the others; `nan` if unknown."""
    if outcomes.proxies is None or not outcomes.proxies.losses:
        return math.nan
    return proxy_difference(_rows(outcomes, outcomes.proxies, next(iter(outcomes.proxies.losses))))


def _powered(outcomes: Outcomes) -> Iterator[tuple[str, Powered]]:
    proxies = outcomes.proxies
    if proxies is None or not len(outcomes.rows):
        return
    for name, values in _row_losses(outcomes).items():
        if name not in proxies.losses:
            continue
        rows = _rows(outcomes, proxies, name)
        if name == "accuracy":
            alone = accuracy_share(confusion_of(outcomes))
            yield name, powered_share(values > 0, rows, alone)
        elif name == "rmse":
            found = powered_mean(values, rows)
            value, low, high, reason = found.estimate
            roots = Estimate(math.sqrt(value), math.sqrt(low), math.sqrt(high), reason)
            yield name, found._replace(estimate=roots)
        else:
            yield name, powered_mean(values, rows)


def _rows(outcomes: Outcomes, proxies: Proxies, name: str) -> ProxyRows:
    labelled = np.searchsorted(proxies.rows, outcomes.rows)
    return ProxyRows(proxies.losses[name], proxies.weight, labelled, proxies.cluster)


def _row_losses(outcomes: Outcomes) -> dict[str, Floats]:
    """What the mean metrics are means of; of `rmse`, the squares."""
    if not outcomes.classes:
        off = abs(values_of(outcomes).errors)
        with np.errstate(over="ignore"):
            losses = {"mae": off, "rmse": off**2}
        # of squares that are no numbers there is no mean
        return {name: each for name, each in losses.items() if np.isfinite(each).all()}
    labels = outcomes.labels.astype(np.int64)
    losses = {"accuracy": (labels == outcomes.predictions).astype(np.float64)}
    if outcomes.probabilities is not None:
        losses["log_loss"] = log_losses(labels, outcomes.probabilities)
        losses["brier"] = brier_losses(labels, outcomes.probabilities)
    return losses


def _losses(
    table: pa.Table, outcomes: Outcomes, everything: Outcomes, proxy: str, read_with: ReadWith
) -> tuple[Codes, dict[str, Floats]]:
    """Which of all rows have a proxy, and the losses of all, 0 where they have none."""
    if not _holds_probabilities(table[proxy], proxy, outcomes):
        read = read_with(proxy)
        known = np.searchsorted(everything.rows, read.rows)
        losses = {}
        for name, values in _row_losses(read).items():
            losses[name] = np.zeros(len(everything.rows))
            losses[name][known] = values
        return known, losses
    values = read_numbers(table[proxy], proxy).values[everything.rows]
    known = np.flatnonzero(np.isfinite(values))
    if ((values[known] < 0) | (values[known] > 1)).any():
        raise DataError(f"proxies that are probabilities must be in [0, 1]: {quoted_name(proxy)}")
    positive = np.where(np.isfinite(values), values, 0.0)
    # what is expected of a label that is positive with this probability
    no, yes = (
        _row_losses(replace(everything, labels=np.full(len(values), code))) for code in (0, 1)
    )
    return known, {name: (1 - positive) * no[name] + positive * yes[name] for name in no}


def _holds_probabilities(column: pa.ChunkedArray, name: str, outcomes: Outcomes) -> bool:
    dtype = value_type(column.type)
    is_float = pa.types.is_floating(dtype) or pa.types.is_decimal(dtype)
    is_text = kind_of(dtype) == "text"
    if len(outcomes.classes) != 2 or not (is_float or is_text):  # noqa: PLR2004 - binary
        return False
    try:
        read = read_numbers(column, name)
    except DataError:
        return False
    # text of which some is no number names classes
    values = read.values[np.isfinite(read.values)]
    return bool((values % 1).any()) and not (is_text and read.unreadable.n)


def _filled(values: Floats, known: Codes) -> Floats:
    """The values, their mean where they are not known: the same in labelled rows and in others."""
    filled = np.full(len(values), float(values[known].mean()) if len(known) else 0.0)
    filled[known] = values[known]
    return filled
