"""Decision from paired scores: ship the candidate, hold it, or collect more items."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.llm.evaluation.comparison_report import (
    ComparisonVerdict,
    PairedComparison,
)
from flytekitplugins.wbmon.reports.failures import FAILED_ALLOWED
from flytekitplugins.wbmon.stats.paired import PairedDifference, paired_difference, pairs_needed
from flytekitplugins.wbmon.stats.repeated_looks import Look, validity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

_LARGEST_ASK = 1e6
_ROUNDS = 8
# few comparisons of prompts have thousands of items
_TIGHTEST = 200.0


def compare_paired(  # noqa: PLR0913 - names for the report, and what decides
    a: ArrayLike,
    b: ArrayLike,
    *,
    groups: Sequence[object] | None = None,
    alpha: float = 0.05,
    min_effect: float = 0.0,
    higher_is_better: bool = True,
    metric: str = "",
    baseline: str = "a",
    candidate: str = "b",
    planned_items: int | Literal["all"] | None = None,
    max_unscored_share: float = FAILED_ALLOWED,
) -> PairedComparison:
    """Test whether candidate `b` is better than baseline `a` on the same items.

    `ship` requires that the whole interval of the difference is on the better side of 0, which it
    is only with a p-value of at most `alpha`. So at most `alpha / 2` of the candidates that are not
    better are shipped. That holds however often items are added and compared again: with
    `planned_items` up to that number, without it for ever. With `"all"` it holds for one look.

    Args:
        a: Scores of the baseline, one per item (or per item and repeat); shape `(n,)`, `nan` if
            missing.
        b: Scores of the candidate in the same order; shape `(n,)`.
        groups: The item of each entry, if items were repeated: repeats are averaged first, because
            they are not independent.
        alpha: One minus the coverage of the interval; in (0, 1).
        min_effect: Smallest gain that is worth a change, in the unit of the scores; `>= 0`. A
            candidate whose gain is surely smaller is held.
        higher_is_better: False for cost and latency.
        metric: Name of the scores, for the report.
        baseline: Name of the first treatment.
        candidate: Name of the second.
        planned_items: Number of items with which the comparison ends, fixed before it begins
            (O'Brien-Fleming boundary); later items are not counted. None without such a plan
            (confidence sequence): about half as many items again are needed. `"all"` if these are
            all the items that will ever be compared, and this is the only look at them.
        max_unscored_share: With a larger share of items without a score on both sides nothing is
            decided; in [0, 1].

    Raises:
        ConfigError: If a setting is out of range.
        DataError: If the arrays differ in length or hold an infinity.
    """
    if not 0 < alpha < 1 or not min_effect >= 0:
        raise ConfigError(
            f"must hold 0 < alpha < 1 and min_effect >= 0; got alpha={alpha}, "
            f"min_effect={min_effect}"
        )
    if not 0 <= max_unscored_share <= 1:
        raise ConfigError(f"max_unscored_share must be from 0 to 1, got {max_unscored_share}")
    end = None if planned_items == "all" else planned_items
    if end is not None and end < 1:
        raise ConfigError(f"planned_items must be at least 1, got {end}")
    first, second, n_unscored = _scored_pairs(a, b, groups)
    # after the planned end, each further look would be one more chance of a false finding
    first, second = first[:end], second[:end]
    look = _look(max(1, len(first)), planned_items)
    found = paired_difference(first, second, alpha=look.level(alpha))
    found = found._replace(p_value=look.p_value(found.p_value))
    # the number of items without a score, where it is too large
    n_too_many = n_unscored if n_unscored > max_unscored_share * (found.n + n_unscored) else 0
    verdict = _verdict(found, n_too_many, min_effect, higher_is_better)
    n_to_decide = _n_to_decide(found, verdict, look, alpha, min_effect)
    return PairedComparison(
        metric=metric,
        baseline=baseline,
        candidate=candidate,
        mean_baseline=float(first.mean()) if len(first) else math.nan,
        mean_candidate=float(second.mean()) if len(second) else math.nan,
        difference=found.value,
        low=found.low,
        high=found.high,
        p_value=found.p_value,
        n=found.n,
        n_unscored=n_unscored,
        higher_is_better=higher_is_better,
        method=found.method,
        verdict=verdict,
        n_to_decide=n_to_decide,
        looks=look.kind,
        planned_items=end,
        reason=_reason(
            found, verdict, n_too_many, n_to_decide, min_effect, higher_is_better, metric
        )
        + f"; {validity(look.kind, end, 'items')}",
    )


def can_decide(
    n: int, *, alpha: float, planned_items: int | Literal["all"] | None, method: str
) -> bool:
    """Whether `n` items could show any difference, were it as large and as sure as can be.

    Args:
        n: Number of items compared.
        alpha: As for `compare_paired`.
        planned_items: As for `compare_paired`.
        method: That of the comparison; the graded scores of `bootstrap` decide with fewer items.
    """
    most = np.linspace(0.99, 1.0, n) if method == "bootstrap" else np.ones(n)
    level = _look(max(1, n), planned_items).level(alpha)
    return paired_difference(np.zeros(n), most, alpha=level).low > 0


def _look(n: float, planned_items: int | Literal["all"] | None) -> Look:
    if planned_items == "all":
        return Look(n=n, planned="once")
    return Look(n=n, planned=planned_items, tightest=_TIGHTEST)


def _scored_pairs(
    a: ArrayLike, b: ArrayLike, groups: Sequence[object] | None
) -> tuple[Floats, Floats, int]:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise DataError(
            "paired scores must be two arrays of one length, one entry an item; got shapes "
            f"{first.shape} and {second.shape}"
        )
    if np.isinf(first).any() or np.isinf(second).any():
        raise DataError("scores must be finite, or nan where there is none; got an infinity")
    scored = ~(np.isnan(first) | np.isnan(second))
    if groups is None:
        return first[scored], second[scored], int((~scored).sum())
    if len(groups) != len(first):
        raise DataError(f"groups must name {len(first)} entries, got {len(groups)}")
    codes: dict[object, int] = {}
    index = np.array([codes.setdefault(each, len(codes)) for each in groups], dtype=np.int64)
    n = np.bincount(index[scored], minlength=len(codes))
    kept = n > 0
    means = [
        np.bincount(index[scored], values[scored], minlength=len(codes))[kept] / n[kept]
        for values in (first, second)
    ]
    return means[0], means[1], int((~kept).sum())


def _verdict(
    found: PairedDifference, n_too_many: int, min_effect: float, higher_is_better: bool
) -> ComparisonVerdict:
    if n_too_many or math.isnan(found.p_value):
        return "undecided"
    low, high, value = found.low, found.high, found.value
    if not higher_is_better:
        low, high, value = -high, -low, -value
    if low > 0 and value >= min_effect:
        return "ship"
    return "hold" if high < min_effect else "undecided"


def _n_to_decide(
    found: PairedDifference,
    verdict: ComparisonVerdict,
    look: Look,
    alpha: float,
    min_effect: float,
) -> float:
    if verdict != "undecided":
        return math.nan
    aim = max(abs(found.value), min_effect)
    # the level depends on the number; it changes so little that a few rounds find both
    needed = float(max(1, found.n))
    for _ in range(_ROUNDS):
        level = replace(look, n=needed).level(alpha)
        needed = min(pairs_needed(found.deviation, aim, alpha=level), 10 * _LARGEST_ASK)
    return needed if needed <= _LARGEST_ASK else math.inf


def _reason(
    found: PairedDifference,
    verdict: ComparisonVerdict,
    n_too_many: int,
    n_to_decide: float,
    min_effect: float,
    higher_is_better: bool,
    metric: str,
) -> str:
    if math.isnan(found.p_value):
        return f"{found.n} items with a score on both sides are too few for any verdict"
    what = f"{metric or 'score'} {found.value:+.4g} [{found.low:+.4g}, {found.high:+.4g}]"
    basis = f"{what} over {found.n} items"
    if verdict == "ship":
        return f"better beyond chance: {basis}"
    if verdict == "hold":
        worse = found.high < 0 if higher_is_better else found.low > 0
        return f"{'worse beyond chance' if worse else f'not better by {min_effect:g}'}: {basis}"
    if n_too_many:
        return f"{n_too_many} items have no score on one side, too many to decide: {basis}"
    if math.isinf(n_to_decide):
        return f"no difference to be seen: {basis}; more items of this kind will not decide"
    needs = f"; about {n_to_decide:,.0f} items would decide" if n_to_decide > found.n else ""
    return f"within chance: {basis}{needs}"
