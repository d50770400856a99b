"""Whether an endpoint kept its promises under a load: an interval for the p99, not a guess."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workflows.llm_load import Reply

_SURE = 0.05
# where bursts leave too few independent requests, a promise kept by a margin counts too: at least
# twice, and the wider the fewer of them are needed
_MARGIN, _NEEDED = 2.0, 120


@dataclass
class Load:
    """What an endpoint did at one rate.

    Slow requests come in bursts, the more so the busier the endpoint: a thousand may tell no more
    than fifty independent ones. Bounds are those of the independent ones, of 95 % each.

    Attributes:
        rate: Requests a second, at random times (Poisson).
        n: Requests that count; those of the warm-up do not.
        n_independent: How many independent requests would tell as much.
        behind_s: How late the sender was, in the worst 5 of 100 requests.
        p50_s: Median time to the first chunk, from when the request was due.
        p99_s: 99th percentile of it, of the requests that were answered.
        p99_low_s: Lower bound of that.
        p99_high_s: Upper bound; infinite below 299 independent requests.
        error_rate: Share that failed.
        error_rate_low: Lower bound of that.
        error_rate_high: Upper bound of that.
        verdict: `holds`, `breaks` or `undecided`.
        reason: In words.
        run_id: The W&B run that tells of it; empty until it is written.
    """

    rate: float
    n: int
    n_independent: int
    behind_s: float
    p50_s: float
    p99_s: float
    p99_low_s: float
    p99_high_s: float
    error_rate: float
    error_rate_low: float
    error_rate_high: float
    verdict: str = "undecided"
    reason: str = ""
    run_id: str = ""


def judge(rate: float, replies: Sequence[Reply], *, p99_s: float, error_rate: float) -> Load:
    """Hold the replies against the promises; what chance alone could have done decides nothing.

    Args:
        rate: Requests a second that were sent.
        replies: What became of them.
        p99_s: Longest time to the first chunk, of 99 in 100 requests.
        error_rate: Largest share of requests that may fail.
    """
    answered = [each.first_chunk_s for each in replies if not math.isnan(each.first_chunk_s)]
    times, n, n_failed = sorted(answered), len(replies), len(replies) - len(answered)
    n_independent = int(len(answered) / _burst_length(answered))
    low, high = _p99_bounds(times, n_independent)
    error_low, error_high = _share_bounds(n_failed, n, n_independent)
    load = Load(
        rate=rate,
        n=n,
        n_independent=n_independent,
        behind_s=_at(sorted(each.behind_s for each in replies), math.ceil(0.95 * n)),
        p50_s=_at(times, math.ceil(0.5 * len(times))),
        p99_s=_at(times, math.ceil(0.99 * len(times))),
        p99_low_s=low,
        p99_high_s=high,
        error_rate=n_failed / n if n else 1.0,
        error_rate_low=error_low,
        error_rate_high=error_high,
    )
    margin = p99_s / _p99_bounds(times, len(times))[1]
    has_margin = (
        margin >= max(_MARGIN, _NEEDED / max(1, n_independent))
        and _MARGIN * _share_bounds(n_failed, n, n)[1] <= error_rate
    )
    load.verdict, load.reason = _verdict(load, p99_s, error_rate, has_margin=has_margin)
    return load


def _verdict(load: Load, p99_s: float, error_rate: float, *, has_margin: bool) -> tuple[str, str]:
    if load.error_rate_low > error_rate:
        return "breaks", f"{load.error_rate:.1%} fail, {error_rate:.1%} may"
    if load.behind_s > p99_s / 10:
        return "undecided", f"the sender itself was {load.behind_s:.3f} s late; use more of them"
    if load.p99_low_s > p99_s:
        return "breaks", f"p99 is {load.p99_s:.3f} s, {p99_s:g} s is promised"
    if has_margin or (load.p99_high_s <= p99_s and load.error_rate_high <= error_rate):
        return "holds", f"p99 is {load.p99_s:.3f} s, {p99_s:g} s is promised"
    seen = f"p99 is {load.p99_s:.3f} s, {load.error_rate:.1%} fail"
    worth = f"{load.n} requests tell no more than {load.n_independent} independent ones"
    return "undecided", f"{seen}, but {worth}: send more"


def _burst_length(times: Sequence[float]) -> float:
    """How many requests in a row tell as much as one: the integrated autocorrelation time.

    References:
        Geyer (1992), Practical Markov chain Monte Carlo, the initial positive sequence.
    """
    n = len(times)
    if n == 0 or np.ptp(times) == 0:
        return 1.0
    centred = np.asarray(times) - np.mean(times)
    spectrum = np.abs(np.fft.rfft(centred, 2 * n)) ** 2
    correlation = np.fft.irfft(spectrum)[:n]
    pairs = (correlation[1:-1:2] + correlation[2::2]) / correlation[0]
    ends = np.flatnonzero(pairs <= 0)
    return max(1.0, 1 + 2 * float(pairs[: ends[0] if len(ends) else None].sum()))


def _p99_bounds(times: Sequence[float], n_independent: int) -> tuple[float, float]:
    """Bounds of the 99th percentile of sorted times, each wrong in 5 of 100 samples."""
    if not times:
        return 0.0, math.inf
    few, many = _p99_counts(n_independent)
    n, scale = len(times), len(times) / max(1, n_independent)
    low = _at(times, math.floor(n - (many + 1) * scale) + 1)
    return low, math.inf if few < 0 else _at(times, n - math.floor(few * scale))


def _share_bounds(count: int, n: int, n_independent: int) -> tuple[float, float]:
    """Bounds of a share, each wrong in 5 of 100 samples."""
    if not n_independent:
        return (1.0, 1.0) if n and count == n else (0.0, 1.0)
    seen = count * n_independent / n
    kept = n_independent - math.floor(seen)
    return 1 - _share_bound(kept, n_independent), _share_bound(math.ceil(seen), n_independent)


def _at(ordered: Sequence[float], rank: int) -> float:
    """The value of a rank, from 1; 0 below the first, infinite beyond the last."""
    if rank < 1:
        return 0.0
    return ordered[rank - 1] if rank <= len(ordered) else math.inf


def _p99_counts(n: int) -> tuple[int, int]:
    """How few and how many of `n` above the 99th percentile chance leaves 5 of 100 times.

    The first is -1 below 299, where none at all is no surprise.
    """
    few, many, sure = -1, -1, 0.0
    while sure < 1 - _SURE:
        many += 1
        sure += _exactly(many, n, 0.01)
        few = many if sure <= _SURE else few
    return few, many


def _share_bound(count: int, n: int) -> float:
    """Upper bound of a share: the largest that makes so few of them no surprise.

    References:
        Clopper & Pearson (1934), The use of confidence or fiducial limits.
    """
    if count == n:
        return 1.0
    low, high = count / n, 1 - 1e-12
    for _ in range(40):
        middle = (low + high) / 2
        is_surprise = _at_most(count, n, middle) <= _SURE
        low, high = (low, middle) if is_surprise else (middle, high)
    return high


def _at_most(count: int, n: int, share: float) -> float:
    return math.fsum(_exactly(k, n, share) for k in range(count + 1))


def _exactly(count: int, n: int, share: float) -> float:
    """The probability of so many of `n`; a share in (0, 1)."""
    ways = math.lgamma(n + 1) - math.lgamma(count + 1) - math.lgamma(n - count + 1)
    return math.exp(ways + count * math.log(share) + (n - count) * math.log1p(-share))
