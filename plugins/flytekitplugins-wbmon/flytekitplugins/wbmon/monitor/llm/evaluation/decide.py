"""The verdict of an evaluation, which rests on answers that came and were scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from flytekitplugins.wbmon.monitor.llm.evaluation.ask import Asked
from flytekitplugins.wbmon.monitor.llm.evaluation.compare import can_decide, compare_paired
from flytekitplugins.wbmon.monitor.llm.evaluation.comparison_report import (
    ComparisonVerdict,
    PairedComparison,
)
from flytekitplugins.wbmon.monitor.llm.evaluation.report import (
    VariantResult,
    nothing_answered,
)
from flytekitplugins.wbmon.monitor.llm.evaluation.rule import EvaluationRule

_ORDER: tuple[ComparisonVerdict, ...] = ("ship", "undecided", "hold")


class EvaluationDecision(NamedTuple):
    """What to do, and why.

    Attributes:
        verdict: On the best candidate.
        winner: The variant to use.
        n_to_decide: Number of items that would decide; `nan` where more items would not.
        missing: Why no verdict was possible; empty if one was.
        reason: One sentence.
    """

    verdict: ComparisonVerdict
    winner: str
    n_to_decide: float
    missing: str
    reason: str


def paired_comparisons(
    results: Sequence[VariantResult],
    asked: Sequence[Asked],
    numbers: Sequence[int],
    metric: str,
    rule: EvaluationRule,
) -> list[PairedComparison]:
    """Each candidate against the baseline in quality, cost and latency, as far as known.

    Args:
        results: The variants, baseline first.
        asked: All answers.
        numbers: The number of each item of the data set, which its copies share: they are no
            further items.
        metric: Name of the scorer that decides.
        rule: The decision rule.
    """
    baseline = results[0].variant.name
    tables = {
        metric: _scores(asked, metric, baseline),
        **{name: _measured(asked, name) for name in ("cost_usd", "latency_ms")},
    }
    found = []
    # Bonferroni: with more candidates, one of them looks better by chance more often
    alpha = rule.alpha / max(1, len(results) - 1)
    for candidate in (each.variant.name for each in results[1:]):
        for name, table in tables.items():
            a, b = table.get(baseline, {}), table.get(candidate, {})
            keys = sorted(a.keys() | b.keys())
            first, second = ([side.get(key, math.nan) for key in keys] for side in (a, b))
            if name != metric and not _is_known(first, second):
                continue
            found.append(
                compare_paired(
                    first,
                    second,
                    groups=[numbers[place] for place, _ in keys],
                    alpha=alpha,
                    min_effect=rule.min_effect if name == metric else 0.0,
                    higher_is_better=name == metric,
                    metric=name,
                    baseline=baseline,
                    candidate=candidate,
                    planned_items=rule.planned_items,
                    max_unscored_share=rule.max_failed_share,
                )
            )
    return found


def _is_known(first: Sequence[float], second: Sequence[float]) -> bool:
    return any(a == a and b == b for a, b in zip(first, second, strict=True))  # noqa: PLR0124 - nan


def _scores(
    asked: Sequence[Asked], metric: str, baseline: str
) -> dict[str, dict[tuple[int, int], float]]:
    found: dict[str, dict[tuple[int, int], float]] = {}
    for each in asked:
        # an outage of the baseline is no merit of a candidate
        is_left_out = each.variant.name == baseline and each.answer.error
        value = math.nan if is_left_out else each.scores.get(metric, math.nan)
        found.setdefault(each.variant.name, {})[each.place, each.repeat] = value
    return found


def _measured(asked: Sequence[Asked], name: str) -> dict[str, dict[tuple[int, int], float]]:
    found: dict[str, dict[tuple[int, int], float]] = {}
    for each in asked:
        value = None if each.answer.error else getattr(each.answer, name)
        key = (each.place, each.repeat)
        found.setdefault(each.variant.name, {})[key] = math.nan if value is None else value
    return found


def decide(
    comparisons: Sequence[PairedComparison],
    results: Sequence[VariantResult],
    metric: str,
    rule: EvaluationRule,
    *,
    stopped: str = "",
    is_cut_off: bool = False,
    copies: str = "",
) -> EvaluationDecision:
    """Ship the best candidate that may be shipped, hold, or say what is missing to decide.

    Args:
        comparisons: Of each candidate with the baseline.
        results: The variants, baseline first.
        metric: Name of the scorer that decides.
        rule: The decision rule.
        stopped: That the budget was spent or could not be kept; empty if it was kept.
        is_cut_off: Whether items were not asked for that reason. Then the only look was to be at
            more items than these, so nothing is decided; one of several looks decides all the same.
        copies: That items are copies of others; empty if none is.
    """
    judged = [each for each in comparisons if each.metric == metric]
    found = _best(judged, comparisons, results, rule) if judged else _alone(results, metric, rule)
    is_only_look = rule.planned_items == "all" or not judged
    if is_cut_off and (is_only_look or found.verdict == "undecided"):
        found = found._replace(
            verdict="undecided",
            winner=results[0].variant.name,
            missing="; ".join(filter(None, (stopped, found.missing))),
            reason=f"{stopped}; {found.reason}",
        )
    told = [found.reason]
    for each in (*_failures(results), *_unscored_by_others(results, metric, rule), stopped, copies):
        if each and not any(each in words for words in told):
            told.append(each)
    return found._replace(reason="; ".join(told))


def _alone(
    results: Sequence[VariantResult], metric: str, rule: EvaluationRule
) -> EvaluationDecision:
    """Of a variant without a candidate."""
    name = results[0].variant.name
    missing = nothing_answered(results) or results[0].unreliable(metric, rule.max_failed_share)
    verdict: ComparisonVerdict = "undecided" if missing else "hold"
    return EvaluationDecision(
        verdict, name, math.nan, missing, missing or f"{name} is the only variant"
    )


def _best(
    judged: Sequence[PairedComparison],
    comparisons: Sequence[PairedComparison],
    results: Sequence[VariantResult],
    rule: EvaluationRule,
) -> EvaluationDecision:
    baseline, by_name = results[0], {each.variant.name: each for each in results}
    candidates = [
        _judged(each, comparisons, baseline, by_name[each.candidate], rule, n=len(judged))
        for each in judged
    ]
    best = max(candidates, key=lambda c: (-_ORDER.index(c.verdict), c.found.difference))
    missing = ""
    if best.verdict == "undecided":
        gaps = dict.fromkeys(each.missing for each in candidates if each.missing)
        missing = nothing_answered(results) or "; ".join(gaps)
    return EvaluationDecision(
        verdict=best.verdict,
        winner=best.found.candidate if best.verdict == "ship" else best.found.baseline,
        n_to_decide=math.nan if missing else best.found.n_to_decide,
        missing=missing,
        reason=missing or best.reason,
    )


class _Judged(NamedTuple):
    """The verdict on one candidate, and what is missing for one."""

    found: PairedComparison
    verdict: ComparisonVerdict
    reason: str
    missing: str = ""


def _judged(
    found: PairedComparison,
    comparisons: Sequence[PairedComparison],
    baseline: VariantResult,
    candidate: VariantResult,
    rule: EvaluationRule,
    *,
    n: int,
) -> _Judged:
    """The verdict on one of `n` candidates."""
    against = f"{found.candidate} against {found.baseline}: {found.reason}"
    missing = (
        baseline.unreliable(found.metric, rule.max_failed_share)
        or _unscored(candidate, found.metric, rule)
        or (against if _is_too_little(found, rule) else "")
    )
    if missing:
        return _Judged(found, "undecided", against, missing)
    better = found.verdict == "ship"
    if not better and not _is_as_good_for_less(found, comparisons, rule):
        # a candidate that does not answer can be the worse one, and may not be the better one
        if found.verdict == "undecided":
            few = _too_few(found, rule.alpha / n, rule)
            missing = _unanswered(candidate, rule) or (f"{few}: {against}" if few else "")
        return _Judged(found, found.verdict, against, missing)
    if missing := _unanswered(candidate, rule):
        return _Judged(found, "undecided", against, missing)
    reason = f"{found.candidate} is {found.reason}"
    if dear := _too_dear(baseline, candidate, rule):
        return _Judged(found, "hold", f"{reason}, but its {dear} is above what is allowed")
    if not better:
        reason = (
            f"{found.candidate} costs less and is not worse by more than {rule.max_loss:g}: "
            f"{found.metric} {found.difference:+.4g} [{found.low:+.4g}, {found.high:+.4g}] over "
            f"{found.n} items"
        )
    return _Judged(found, "ship", f"{reason}{_price(found, comparisons)}")


def _is_too_little(found: PairedComparison, rule: EvaluationRule) -> bool:
    """Whether nothing can be said because too few items have a score on both sides."""
    n_all = found.n + found.n_unscored
    return math.isnan(found.p_value) or found.n_unscored > rule.max_failed_share * n_all


def _too_few(found: PairedComparison, alpha: float, rule: EvaluationRule) -> str:
    """That no difference between so few items would be beyond chance; empty if one could be."""
    able = can_decide(found.n, alpha=alpha, planned_items=rule.planned_items, method=found.method)
    return "" if able else f"{found.n} items are too few for any verdict"


def _unanswered(result: VariantResult, rule: EvaluationRule) -> str:
    if not result.failed_share > rule.max_failed_share:
        return ""
    return f"{result.told_failed}, {rule.max_failed_share:.0%} may"


def _unscored(result: VariantResult, metric: str, rule: EvaluationRule) -> str:
    told = result.told_unscored(metric, rule.max_failed_share)
    return f"{told}, {rule.max_failed_share:.0%} may" if told else ""


def _failures(results: Sequence[VariantResult]) -> list[str]:
    return [each.told_failed for each in results if each.n_failed]


def _unscored_by_others(
    results: Sequence[VariantResult], metric: str, rule: EvaluationRule
) -> list[str]:
    """What the scorers that do not decide failed on, where that is more than is allowed."""
    return [
        each.told_unscored(name, rule.max_failed_share)
        for each in results
        for name in each.scores
        if name != metric
    ]


def _is_as_good_for_less(
    found: PairedComparison, comparisons: Sequence[PairedComparison], rule: EvaluationRule
) -> bool:
    """Whether a candidate is non-inferior (by `rule.max_loss`) and significantly cheaper."""
    if rule.max_loss is None or not found.low > -rule.max_loss:
        return False
    return any(
        each.candidate == found.candidate and each.metric == "cost_usd" and each.verdict == "ship"
        for each in comparisons
    )


def _too_dear(first: VariantResult, second: VariantResult, rule: EvaluationRule) -> str:
    """The limit that the second variant violates, `cost` or `latency`; empty if none."""
    limits = (
        ("cost", _cost(first, rule), _cost(second, rule), rule.max_cost_increase),
        ("latency", first.latency_ms["mean"], second.latency_ms["mean"], rule.max_latency_increase),
    )
    for words, before, after, limit in limits:
        # written so that nan, an unknown cost, violates the limit
        if limit is not None and not after <= before * (1 + limit):
            return words
    return ""


def _cost(result: VariantResult, rule: EvaluationRule) -> float:
    """The mean cost of a call; `nan` if too many have no known price."""
    n_came = result.n_answers - result.n_failed
    known = result.n_unpriced <= rule.max_failed_share * n_came
    return result.cost_per_call_usd if known else math.nan


def _price(chosen: PairedComparison, comparisons: Sequence[PairedComparison]) -> str:
    parts = []
    for name, words in (("cost_usd", "cost"), ("latency_ms", "latency")):
        found = next(
            (c for c in comparisons if c.metric == name and c.candidate == chosen.candidate), None
        )
        if found is not None and found.mean_baseline > 0:
            parts.append(f"{words} {found.difference / found.mean_baseline:+.0%}")
    return f"; {', '.join(parts)}" if parts else ""
