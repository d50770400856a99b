"""Reduction of a feature's counts to a few bars for the picture in the report."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flytekitplugins.wbmon.monitor.drift.report import Bin
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.stats.binning import cumulative_shares

_MAX_BARS = 12
_TAIL = 0.01


def bars(reference: FeatureProfile, current: FeatureProfile) -> tuple[Bin, ...]:
    """At most twelve bars with the shares of rows of both windows, in [0, 1].

    The shares are of the rows with a value. If a numeric feature has few distinct values, each gets
    a bar. Otherwise the range from the 1st to the 99th percentile of the reference is divided into
    bars of about equal width, cut at edges of the grid, with an open bar at each end.
    """
    if reference.counts is None or current.counts is None or reference.kind == "vector":
        return ()
    # all rows that have a value may have the weight 0
    if not np.any(reference.counts) or not np.any(current.counts):
        return ()
    if reference.edges is None:
        return _category_bars(reference, current)
    if len(reference.edges) <= _MAX_BARS - 2:
        return _value_bars(reference, current)
    return _range_bars(reference, current)


def _category_bars(reference: FeatureProfile, current: FeatureProfile) -> tuple[Bin, ...]:
    a, b = _shares(reference.counts), _shares(current.counts)
    order = np.argsort(-np.maximum(a[:-1], b[:-1]), kind="stable")
    shown, rest = order[: _MAX_BARS - 2], order[_MAX_BARS - 2 :]
    result = [Bin(label=reference.categories[i], reference=a[i], current=b[i]) for i in shown]
    if len(rest):
        result.append(Bin(label="others", reference=a[rest].sum(), current=b[rest].sum()))
    if a[-1] > 0 or b[-1] > 0:
        label = "not in the table" if a[-1] > 0 else "new categories"
        result.append(Bin(label=label, reference=a[-1], current=b[-1]))
    return tuple(_plain(result))


def _value_bars(reference: FeatureProfile, current: FeatureProfile) -> tuple[Bin, ...]:
    a, b = _shares(reference.counts), _shares(current.counts)
    edges = np.asarray(reference.edges)
    result = [
        Bin(label=_number(edge), reference=a[2 * i + 1], current=b[2 * i + 1])
        for i, edge in enumerate(edges)
    ]
    # an edge is a value of the reference; all other values of both windows are in open cells
    other_a, other_b = a[0::2].sum(), b[0::2].sum()
    if other_a > 0 or other_b > 0:
        result.append(Bin(label="other values", reference=other_a, current=other_b))
    return tuple(_plain(result))


def _range_bars(reference: FeatureProfile, current: FeatureProfile) -> tuple[Bin, ...]:
    edges = np.asarray(reference.edges, dtype=np.float64)
    below, up_to = cumulative_shares(np.asarray(reference.counts))
    first = int(np.searchsorted(up_to, _TAIL))
    last = int(np.searchsorted(below, 1 - _TAIL, "right")) - 1
    # equal widths between percentiles: one outlier cannot empty the picture
    # between the ends of the range of floats their distance overflows, and one bar remains
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = np.linspace(edges[first], edges[max(first, last)], _MAX_BARS - 1)
    cuts = np.unique(np.clip(np.searchsorted(edges, wanted), 0, len(edges) - 1))
    a = np.diff(np.concatenate(([0.0], below[cuts], [1.0])))
    now = cumulative_shares(np.asarray(current.counts))[0]
    b = np.diff(np.concatenate(([0.0], now[cuts], [1.0])))
    names = [_number(edge) for edge in edges[cuts]]
    inner = [f"{low} to {high}" for low, high in pairwise(names)]
    labels = [f"< {names[0]}", *inner, f"≥ {names[-1]}"]
    result = [
        Bin(label=label, reference=x, current=y) for label, x, y in zip(labels, a, b, strict=True)
    ]
    return tuple(_plain([bar for bar in result if bar.reference > 0 or bar.current > 0]))


def _shares(counts: NDArray[Any] | None) -> NDArray[np.float64]:
    values = np.asarray(counts, dtype=np.float64)
    return values / values.sum() if values.sum() > 0 else values


def _plain(found: list[Bin]) -> list[Bin]:
    return [
        Bin(label=bar.label, reference=float(bar.reference), current=float(bar.current))
        for bar in found
    ]


def _number(value: float) -> str:
    number = float(value)
    return f"{number:,.4g}" if abs(number) < 1e15 else f"{number:.3g}"  # noqa: PLR2004
