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
_FEWEST_OF_MEAN = 50  # before that few show how far a loss and its proxy may be apart


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
        gain: How many times as many labels alone would have an interval as short.
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
    `lambda = cov(y, f) / var(f) / (1 + n / N)`, which makes the variance least. The variance of `f`
    is that of all rows, if it is larger than that of the labelled ones: a proxy that errs in one
    row of twenty may not have done so among fifty labels. The interval is Student's t on the log
    scale, with the variances of both means; `n - 2` degrees of freedom, since a slope is fitted,
    and fewer if the variance hangs on few rows.

    Args:
        values: Value `y` of each labelled row, `>= 0`; shape `(n,)`.
        rows: All rows with their proxies `f`.

    Returns:
        The mean; that of the labels alone where proxies make it no more certain, or of fewer than
        50 labels in effect.
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
    variance: proxies that agreed with every label so far may still err. So may proxies that
    contradict most labels; of them the pair agrees.

    Args:
        hits: Whether each labelled row is a success; shape `(n,)`.
        rows: All rows with their proxies, such as a judge's probability of a success.
        alone: The share by the labels alone, with its effective size.

    Returns:
        The share, in [0, 1]; that of the labels alone where proxies make it no more certain.
    """
    found = _tuned(hits.astype(np.float64), rows, is_share=True)
    if not found.tuning:
        return Powered(alone.estimate, 0.0, 1.0)
    value = min(max(found.value, 0.0), 1.0)
    gain = found.gain * (Z95 / student_quantile(found.df)) ** 2
    return Powered(Share(value, alone.n * gain).estimate, found.tuning, gain)


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


def _tuned(values: Floats, rows: ProxyRows, *, is_share: bool = False) -> _Tuned:
    """The mean with the tuning of least variance; by labels alone if that is as good."""
    scale = float(abs(rows.proxy).max(initial=0.0)) or 1.0
    # squares of the largest floats are infinite
    rows = rows._replace(proxy=rows.proxy / scale)
    labelled, proxy = rows.weight[rows.labelled], rows.proxy[rows.labelled]
    of_labelled = None if rows.cluster is None else rows.cluster[rows.labelled]
    n = effective_rows(labelled, of_labelled)
    mean, of_proxy = _mean(values, labelled), _mean(proxy, labelled)
    df = influence_freedom(values - mean, labelled, of_labelled)
    alone = _Tuned(mean, math.nan, df, 0.0, 1.0)
    if n < _FEWEST:
        return alone
    moments = _moments(values, rows, n, is_share=is_share)
    alone = alone._replace(error=math.sqrt(moments.spread * n / (n - 1)))
    is_enough = is_share or n >= _FEWEST_OF_MEAN
    if not is_enough or not moments.of_proxies > 0:
        return alone
    tuning = moments.together / moments.of_proxies
    left = moments.more - 2 * tuning * moments.together + tuning**2 * moments.of_proxies
    left *= n / (n - 2)
    gain = moments.spread * n / (n - 1) / left if left > 0 and moments.spread > 0 else 1.0
    inside = _is_labelled(rows)
    elsewhere = _mean(rows.proxy[~inside], rows.weight[~inside])
    residual = (values - mean) - tuning * (proxy - of_proxy)
    found = _Tuned(
        value=mean + tuning * (elsewhere - of_proxy),
        error=math.sqrt(max(left, 0.0)),
        df=min(n - 2, influence_freedom(residual, labelled, of_labelled)),
        tuning=tuning / scale,
        gain=gain,
    )
    # a share alone has Wilson's interval, which asks for no quantile of Student's t
    most = math.inf if is_share else df
    is_shorter = gain * (student_quantile(most) / student_quantile(found.df)) ** 2 > 1
    return found if is_shorter else alone


class _Moments(NamedTuple):
    """Variances of the mean of the labels and of the proxies' correction, and their covariance.

    Attributes:
        spread: Variance of the mean.
        more: The same with what may be assumed beside the labels.
        together: Covariance of the mean and the correction.
        of_proxies: Variance of the correction; 0 if proxies can correct nothing.
    """

    spread: float
    more: float
    together: float
    of_proxies: float


def _moments(values: Floats, rows: ProxyRows, n: float, *, is_share: bool) -> _Moments:
    inside = _is_labelled(rows)
    labelled, proxy = rows.weight[rows.labelled], rows.proxy[rows.labelled]
    y = np.zeros(len(rows.proxy))
    y[rows.labelled] = values
    mean = _mean(values, labelled)
    alone = _centred(rows, inside, y, mean)
    spread = _squares(alone, rows.cluster)
    of_all, of_known = _variance(rows.proxy, rows.weight), _variance(proxy, labelled)
    if inside.all() or not of_known > 0:
        return _Moments(spread, spread, 0.0, 0.0)
    known, beside = (
        _centred(rows, side, rows.proxy, _mean(rows.proxy[side], rows.weight[side]))
        for side in (inside, ~inside)
    )
    together = _product(alone, known - beside, rows.cluster)
    # two rows more, of a hit and of a miss that look like the other one
    signed = proxy if together > 0 else -proxy
    extra = _contradiction(signed, mean) / n**2 if is_share else np.zeros((2, 2))
    # proxies vary among the labelled rows as they do among all
    wider = math.sqrt(max(1.0, of_all / of_known))
    return _Moments(
        spread=spread,
        more=spread + float(extra[0, 0]),
        together=together + float(extra[0, 1]) * (1 if together > 0 else -1),
        of_proxies=_squares(known * wider - beside, rows.cluster) + float(extra[1, 1]),
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


def _variance(values: Floats, weight: Floats) -> float:
    return _mean((values - _mean(values, weight)) ** 2, weight)


def _contradiction(proxy: Floats, mean: float) -> Floats:
    """Sums of products: a hit with the lowest proxy and a miss with the highest, off the means."""
    pairs = np.array(
        [[1.0 - mean, proxy.min() - proxy.mean()], [-mean, proxy.max() - proxy.mean()]]
    )
    products: Floats = pairs.T @ pairs
    return products
