"""The mean of few labels and many proxies, with an interval that is valid however bad the proxies.

A proxy stands in for the value of a row: the score of a judge, or what another model takes for its
label. The mean of the labelled rows is corrected by how much the proxies of the labelled rows
differ from those of the others; the correction is tuned so that it never costs much.

References:
    Angelopoulos, Bates, Fannjiang, Jordan & Zrnic (2023), Prediction-powered inference.
    Angelopoulos, Duchi & Zrnic (2023), PPI++: Efficient prediction-powered inference.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flytekitplugins.wbmon.stats.estimate import (
    Z95,
    Estimate,
    Share,
    log_interval,
    student_quantile,
    undefined,
)
from flytekitplugins.wbmon.stats.influence import (
    cluster_sums,
    effective_rows,
    influence_freedom,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]
    Mask = NDArray[np.bool_]

_FEWEST = 3  # labelled rows from which a slope and its error can be told


class ProxyRows(NamedTuple):
    """Rows of which all have a proxy, and some a label.

    Attributes:
        proxy: What stands in for the value of each row; shape `(m,)`.
        weight: Row weights, `> 0`; shape `(m,)`.
        labelled: Positions of the rows with a label, a random sample of all; shape `(n,)`.
        cluster: Cluster of each row, codes `>= 0`; None if rows are independent.
    """

    proxy: Floats
    weight: Floats
    labelled: Codes
    cluster: Codes | None = None


class Powered(NamedTuple):
    """A mean of labels and proxies.

    Attributes:
        estimate: The mean with its 95 % interval.
        tuning: Weight of the proxies, `lambda`: 0 if they say nothing, 1 if they say all.
        gain: How many times as many labels alone would have the same variance.
    """

    estimate: Estimate
    tuning: float
    gain: float


class _Tuned(NamedTuple):
    value: float
    error: float
    df: float
    tuning: float
    gain: float


def powered_mean(values: Floats, rows: ProxyRows) -> Powered:
    """Mean of non-negative values, such as losses, of which few are known.

    `mean_L(y - lambda f) + lambda mean_U(f)` over the labelled rows `L` and the others `U`, with
    `lambda = cov(y, f) / var(f) / (1 + n / N)`, which makes the variance least. The interval is
    Student's t on the log scale, with the variances of both means; `n - 2` degrees of freedom,
    since a slope is fitted, and fewer if the variance hangs on few rows.

    Args:
        values: Value `y` of each labelled row, `>= 0`; shape `(n,)`.
        rows: All rows with their proxies `f`.

    Returns:
        The mean; that of the labels alone if proxies are all equal or there are no other rows.
    """
    found = _tuned(values, rows)
    if not found.value > 0:
        return Powered(undefined("the proxies leave no mean above 0"), found.tuning, found.gain)
    estimate = log_interval(found.value, found.error, found.df)
    return Powered(estimate, found.tuning, found.gain)


def powered_share(hits: Mask, rows: ProxyRows, alone: Share) -> Powered:
    """Share of rows that are a success, of which few are known.

    As `powered_mean`, with Wilson's interval of as many rows as the proxies make the labels worth.
    One more pair of rows in which label and proxy contradict each other is assumed for the
    variance: proxies that agreed with every label so far may still err.

    Args:
        hits: Whether each labelled row is a success; shape `(n,)`.
        rows: All rows with their proxies, such as a judge's probability of a success.
        alone: The share by the labels alone, with its effective size.

    Returns:
        The share, in [0, 1].
    """
    found = _tuned(hits.astype(np.float64), rows, contradicted=True)
    value = min(max(found.value, 0.0), 1.0)
    lost = (Z95 / student_quantile(max(found.df, 1.0))) ** 2
    return Powered(Share(value, alone.n * found.gain * lost).estimate, found.tuning, found.gain)


def proxy_difference(rows: ProxyRows) -> float:
    """Z statistic of the difference between the mean proxy of labelled rows and of the others.

    Far from 0 if the labelled rows are no random sample of all.

    Args:
        rows: All rows with their proxies.

    Returns:
        Approximately standard normal; `nan` if one of the two has no spread.
    """
    inside = _is_labelled(rows)
    first, second = (_mean(rows.proxy[side], rows.weight[side]) for side in (inside, ~inside))
    part = _centred(rows, inside, rows.proxy, first)
    part -= _centred(rows, ~inside, rows.proxy, second)
    spread = float((cluster_sums(part, rows.cluster) ** 2).sum())
    return (first - second) / math.sqrt(spread) if spread > 0 else math.nan


def _tuned(values: Floats, rows: ProxyRows, *, contradicted: bool = False) -> _Tuned:
    inside = _is_labelled(rows)
    labelled = rows.weight[rows.labelled]
    proxy = rows.proxy[rows.labelled]
    of_labelled = None if rows.cluster is None else rows.cluster[rows.labelled]
    n = effective_rows(labelled, of_labelled)
    mean, of_proxy = _mean(values, labelled), _mean(proxy, labelled)
    y = np.zeros(len(rows.proxy))
    y[rows.labelled] = values
    alone = _centred(rows, inside, y, mean)
    spread = _squares(alone, rows.cluster)
    df = influence_freedom(values - mean, labelled, of_labelled)
    classical = _Tuned(mean, math.nan, df, 0.0, 1.0)
    if n < _FEWEST:
        return classical
    classical = classical._replace(error=math.sqrt(spread * n / (n - 1)))
    others = rows.weight[~inside]
    known = _centred(rows, inside, rows.proxy, of_proxy)
    if not len(others) or not known.any():
        return classical
    elsewhere = _mean(rows.proxy[~inside], others)
    correction = known - _centred(rows, ~inside, rows.proxy, elsewhere)
    # two rows more, of a hit that looks like a miss and of a miss that looks like a hit
    extra = _contradiction(proxy, mean, of_proxy) / n**2 if contradicted else np.zeros((2, 2))
    together = _product(alone, correction, rows.cluster) + float(extra[0, 1])
    of_correction = _squares(correction, rows.cluster) + float(extra[1, 1])
    tuning = together / of_correction
    left = spread + float(extra[0, 0]) - 2 * tuning * together + tuning**2 * of_correction
    left *= n / (n - 2)
    residual = (values - mean) - tuning * (proxy - of_proxy)
    gain = spread * n / (n - 1) / left if left > 0 and spread > 0 else 1.0
    return _Tuned(
        value=mean + tuning * (elsewhere - of_proxy),
        error=math.sqrt(max(left, 0.0)),
        df=min(n - 2, influence_freedom(residual, labelled, of_labelled)),
        tuning=tuning,
        gain=gain,
    )


def _is_labelled(rows: ProxyRows) -> Mask:
    inside = np.zeros(len(rows.proxy), dtype=bool)
    inside[rows.labelled] = True
    return inside


def _mean(values: Floats, weight: Floats) -> float:
    return float((values * weight).sum()) / float(weight.sum()) if len(values) else math.nan


def _centred(rows: ProxyRows, inside: Mask, values: Floats, mean: float) -> Floats:
    """What each row contributes to the error of the mean over some rows; 0 outside."""
    weight = np.where(inside, rows.weight, 0.0)
    total = float(weight.sum())
    return np.where(inside, weight * (values - mean), 0.0) / total if total else weight


def _squares(part: Floats, cluster: Codes | None) -> float:
    return _product(part, part, cluster)


def _product(first: Floats, second: Floats, cluster: Codes | None) -> float:
    """Sum over the clusters of the products of two contributions."""
    return float((cluster_sums(first, cluster) * cluster_sums(second, cluster)).sum())


def _contradiction(proxy: Floats, mean: float, of_proxy: float) -> Floats:
    """Sums of products of two rows that label and proxy see the other way round."""
    pairs = np.array([[1.0 - mean, proxy.min() - of_proxy], [-mean, proxy.max() - of_proxy]])
    products: Floats = pairs.T @ pairs
    return products
