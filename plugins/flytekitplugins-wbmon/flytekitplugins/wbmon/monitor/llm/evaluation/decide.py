"""The verdict of an evaluation, which rests on answers that came and were scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from flytekitplugins.wbmon.monitor.llm.evaluation.ask import Asked
from flytekitplugins.wbmon.monitor.llm.evaluation.compare import compare_paired
from flytekitplugins.wbmon.monitor.llm.evaluation.failures import told_failures
from flytekitplugins.wbmon.monitor.llm.evaluation.report import (
    ComparisonVerdict,
    PairedComparison,
    VariantResult,
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
    results: Sequence[VariantResult], asked: Sequence[Asked], metric: str, rule: EvaluationRule
) -> list[PairedComparison]:
    """Each candidate against the baseline in quality, cost and latency, as far as known.

    Args:
        results: The variants, baseline first.
        asked: All answers.
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
                    groups=[place for place, _ in keys],
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
) -> EvaluationDecision:
    """Ship the best candidate that may be shipped, hold, or say what is missing to decide.

    Args:
        comparisons: Of each candidate with the baseline.
        results: The variants, baseline first.
        metric: Name of the scorer that decides.
        rule: The decision rule.
    """
    baseline, by_name = results[0], {each.variant.name: each for each in results}
    judged = [each for each in comparisons if each.metric == metric]
    if not judged:
        missing = _nothing(results) or _unreliable(baseline, metric, rule)
        reason = missing or f"{baseline.variant.name} is the only variant"
        verdict: ComparisonVerdict = "undecided" if missing else "hold"
        reason += _failures(results, told=missing)
        return EvaluationDecision(verdict, baseline.variant.name, math.nan, missing, reason)
    candidates = [
        _judged(each, comparisons, baseline, by_name[each.candidate], rule) for each in judged
    ]
    best = max(candidates, key=lambda c: (-_ORDER.index(c.verdict), c.found.difference))
    missing = ""
    if best.verdict == "undecided":
        gaps = dict.fromkeys(each.missing for each in candidates if each.missing)
        missing = _nothing(results) or "; ".join(gaps)
    return EvaluationDecision(
        verdict=best.verdict,
        winner=best.found.candidate if best.verdict == "ship" else best.found.baseline,
        n_to_decide=math.nan if missing else best.found.n_to_decide,
        missing=missing,
        reason=f"{missing or best.reason}{_failures(results, told=missing)}",
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
) -> _Judged:
    against = f"{found.candidate} against {found.baseline}: {found.reason}"
    missing = (
        _unreliable(baseline, found.metric, rule)
        or _unscored(candidate, found.metric, rule)
        or (against if _is_too_little(found, rule) else "")
    )
    if missing:
        return _Judged(found, "undecided", against, missing)
    better = found.verdict == "ship"
    if not better and not _is_as_good_for_less(found, comparisons, rule):
        # a candidate that does not answer can be the worse one, and may not be the better one
        missing = _unanswered(candidate, rule) if found.verdict == "undecided" else ""
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


def _unreliable(baseline: VariantResult, metric: str, rule: EvaluationRule) -> str:
    return _unanswered(baseline, rule) or _unscored(baseline, metric, rule)


def _unanswered(result: VariantResult, rule: EvaluationRule) -> str:
    if not result.failed_share > rule.max_failed_share:
        return ""
    return f"{_failed(result)}, {rule.max_failed_share:.0%} may"


def _failed(result: VariantResult) -> str:
    answers = f"answers of {result.variant.name} failed"
    return told_failures(result.n_failed, result.n_answers, answers, result.errors)


def _unscored(result: VariantResult, metric: str, rule: EvaluationRule) -> str:
    score, n_came = result.scores[metric], result.n_answers - result.n_failed
    if not n_came or not score.n_failed > rule.max_failed_share * n_came:
        return ""
    answers = f"answers of {result.variant.name} have no score"
    told = told_failures(score.n_failed, n_came, answers, score.errors)
    return f"{told}: {metric} failed on them, {rule.max_failed_share:.0%} may"


def _nothing(results: Sequence[VariantResult]) -> str:
    """That nothing was answered at all; empty if anything was."""
    if not any(each.n_answers for each in results):
        return "there was no item to answer"
    if any(each.n_failed < each.n_answers for each in results):
        return ""
    return f"nothing was answered: {', '.join(map(_failed, results))}"


def _failures(results: Sequence[VariantResult], told: str = "") -> str:
    """The failures by variant, without those of which a text tells already."""
    failed = [_failed(each) for each in results if each.n_failed]
    rest = [each for each in failed if each not in told]
    return f"; {', '.join(rest)}" if rest else ""


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
