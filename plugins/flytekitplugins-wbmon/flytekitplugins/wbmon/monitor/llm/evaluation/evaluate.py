"""Evaluation of variants on the same items, with paired comparisons."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from flytekitplugins.wbmon.arguments import listed
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.llm.evaluation.answer_cache import AnswerStore
from flytekitplugins.wbmon.monitor.llm.evaluation.ask import (
    Ask,
    Asked,
    EvaluationRun,
    SpendLimit,
    run_coroutine,
)
from flytekitplugins.wbmon.monitor.llm.evaluation.compare import compare_paired
from flytekitplugins.wbmon.monitor.llm.evaluation.report import (
    TAKEN_NAMES,
    ComparisonVerdict,
    EvaluationReport,
    EvaluationRule,
    PairedComparison,
    Variant,
    VariantResult,
)
from flytekitplugins.wbmon.monitor.llm.evaluation.results import (
    evaluated_item,
    mark_frontier,
    result_of,
    telling_examples,
)
from flytekitplugins.wbmon.monitor.llm.evaluation.scorers import BUILTIN, Item, Scorer
from flytekitplugins.wbmon.names import listed_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

KEPT_ITEMS = 2000

logger = logging.getLogger(__name__)

_ORDER: tuple[ComparisonVerdict, ...] = ("ship", "undecided", "hold")


def evaluate_variants(
    items: Sequence[Item],
    variants: Sequence[Variant],
    ask: Ask,
    *,
    scorers: Sequence[str] | Mapping[str, Scorer],
    rule: EvaluationRule | None = None,
    store: AnswerStore | None = None,
    name: str = "evaluation",
) -> EvaluationReport:
    """Answer every item with every variant, and compare each variant with the first.

    A failed answer scores 0. If a scorer fails, the answer has no score; such answers are counted,
    and more than 5 % of them prevent a verdict.

    Args:
        items: The items, with the fields that prompts and scorers need; `id` identifies one.
        variants: The variants, baseline first.
        ask: A function or coroutine function that answers an item with a variant.
        scorers: Names of built-in scorers, or a mapping of names to scorers.
        rule: The decision rule.
        store: Answers of earlier runs, which are not requested again.
        name: Name of the evaluation.

    Raises:
        ConfigError: If names are missing or not unique, or `max_cost_usd` is set and it is known
            that a model has no price.
        DataError: If there is nothing to ask.
    """
    rule = rule or EvaluationRule()
    known = _scorers(scorers)
    metric = rule.metric or next(iter(known))
    _check(items, variants, known, metric)
    _require_prices(rule, [ask, *known.values()], variants)
    spend_limit = SpendLimit(limit_usd=rule.max_cost_usd)
    asking = EvaluationRun(
        ask=ask,
        scorers=known,
        repeats=rule.repeats,
        concurrency=rule.concurrency,
        store=store,
        spend_limit=spend_limit,
    )
    asked = run_coroutine(asking.run(items, variants))
    results = mark_frontier([result_of(v, asked, known, rule) for v in variants], metric)
    comparisons = _comparisons(variants, asked, metric, rule)
    verdict, winner = _decide(comparisons, variants, results, metric, rule)
    n_asked = len({each.place for each in asked})
    # if the baseline stays, no comparison has it as candidate; then the first one is shown
    deciding = next((c for c in comparisons if c.metric == metric and c.candidate == winner), None)
    if deciding is None:
        deciding = next((c for c in comparisons if c.metric == metric), None)
    return EvaluationReport(
        name=name,
        metric=metric,
        n_items=n_asked,
        variants=tuple(results),
        comparisons=tuple(comparisons),
        verdict=verdict,
        winner=winner,
        n_to_decide=deciding.n_to_decide if deciding else math.nan,
        spent_usd=spend_limit.spent_usd,
        n_unpriced=spend_limit.n_unpriced,
        stopped=_stopped(n_asked, len(items), spend_limit),
        items=tuple(evaluated_item(each, items) for each in asked[:KEPT_ITEMS]),
        examples=telling_examples(asked, items, metric),
        reason=_reason(verdict, winner, comparisons, results, metric, rule),
    )


def fill_answers(
    items: Sequence[Item],
    variants: Sequence[Variant],
    ask: Ask,
    *,
    store: AnswerStore,
    rule: EvaluationRule | None = None,
) -> int:
    """Answer the items and store the answers for a later evaluation, without scoring.

    Returns:
        Number of answers to these items without an error.

    Raises:
        ConfigError: If names are not unique, or `max_cost_usd` is set and it is known that a model
            has no price.
        DataError: If there is nothing to ask.
    """
    rule = rule or EvaluationRule()
    # nothing is scored, so any scorer passes the check of the metric
    _check(items, variants, {"": BUILTIN["exact"]}, "")
    _require_prices(rule, [ask], variants)
    spend_limit = SpendLimit(limit_usd=rule.max_cost_usd)
    asking = EvaluationRun(
        ask=ask,
        scorers={},
        repeats=rule.repeats,
        concurrency=rule.concurrency,
        store=store,
        spend_limit=spend_limit,
    )
    asked = run_coroutine(asking.run(items, variants))
    if stopped := _stopped(len({each.place for each in asked}), len(items), spend_limit):
        logger.warning("%s", stopped)
    return sum(not each.answer.error for each in asked)


def _scorers(scorers: Sequence[str] | Mapping[str, Scorer]) -> dict[str, Scorer]:
    if isinstance(scorers, Mapping):
        if taken := sorted({*scorers} & TAKEN_NAMES):
            raise ConfigError(
                f"a scorer must have a name of its own, and {taken[0]!r} is that of another number "
                "of the report; give it another"
            )
        return dict(scorers)
    scorers = listed("scorers", scorers, "names of scorers")
    unknown = [name for name in scorers if name not in BUILTIN]
    if unknown:
        raise ConfigError(f"scorers must be of {', '.join(BUILTIN)}; got {unknown[0]!r}")
    return {name: BUILTIN[name] for name in scorers}


def _check(
    items: Sequence[Item], variants: Sequence[Variant], scorers: Mapping[str, Scorer], metric: str
) -> None:
    if not items:
        raise DataError("an evaluation must have items, got none")
    if not variants or len({each.name for each in variants}) != len(variants):
        raise ConfigError("an evaluation must have variants with names of their own")
    if metric not in scorers:
        raise ConfigError(f"metric must be one of {', '.join(scorers)}; got {metric!r}")


def _require_prices(
    rule: EvaluationRule, asked: Sequence[object], variants: Sequence[Variant]
) -> None:
    """Refuse a limit on the cost where it is known before anything is spent that none can be."""
    if rule.max_cost_usd is None:
        return
    models = list(dict.fromkeys(each.model for each in variants))
    for each in asked:
        unpriced = getattr(each, "models_without_price", None)
        if unpriced is not None and (names := unpriced(models)):
            raise ConfigError(
                f"with max_cost_usd every model must have a price, {listed_names(names)} has none; "
                "give prices=PriceTable([...]) to answer_with or chat_with"
            )


def _comparisons(
    variants: Sequence[Variant], asked: Sequence[Asked], metric: str, rule: EvaluationRule
) -> list[PairedComparison]:
    tables = {name: _values(asked, metric, name) for name in (metric, "cost_usd", "latency_ms")}
    found = []
    # Bonferroni: with more candidates, one of them looks better by chance more often
    alpha = rule.alpha / max(1, len(variants) - 1)
    for candidate in variants[1:]:
        for name, table in tables.items():
            a, b = table[variants[0].name], table[candidate.name]
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
                    baseline=variants[0].name,
                    candidate=candidate.name,
                    planned_items=rule.planned_items,
                )
            )
    return found


def _is_known(first: Sequence[float], second: Sequence[float]) -> bool:
    return any(a == a and b == b for a, b in zip(first, second, strict=True))  # noqa: PLR0124 - nan


def _values(
    asked: Sequence[Asked], metric: str, name: str
) -> dict[str, dict[tuple[int, int], float]]:
    found: dict[str, dict[tuple[int, int], float]] = {each.variant.name: {} for each in asked}
    for each in asked:
        value: float | None
        if name == metric:
            value = each.scores.get(metric)
        else:
            value = None if each.answer.error else getattr(each.answer, name)
        key = (each.place, each.repeat)
        found[each.variant.name][key] = math.nan if value is None else value
    return found


def _decide(
    comparisons: Sequence[PairedComparison],
    variants: Sequence[Variant],
    results: Sequence[VariantResult],
    metric: str,
    rule: EvaluationRule,
) -> tuple[ComparisonVerdict, str]:
    baseline = variants[0].name
    judged = [each for each in comparisons if each.metric == metric]
    if not judged:
        return "hold", baseline
    shipped = [
        each
        for each in judged
        if (each.verdict == "ship" or _is_as_good_for_less(each, comparisons, rule))
        and not _too_dear(each.candidate, results, rule)
    ]
    if shipped:
        return "ship", max(shipped, key=lambda each: each.difference).candidate
    if any(each.verdict == "undecided" for each in judged):
        return "undecided", baseline
    return "hold", baseline


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


def _too_dear(candidate: str, results: Sequence[VariantResult], rule: EvaluationRule) -> str:
    """The limit that a candidate violates, `cost` or `latency`; empty if none."""
    by_name = {result.variant.name: result for result in results}
    first, second = results[0], by_name[candidate]
    limits = (
        ("cost", first.cost_per_call_usd, second.cost_per_call_usd, rule.max_cost_increase),
        ("latency", first.latency_ms["mean"], second.latency_ms["mean"], rule.max_latency_increase),
    )
    for words, before, after, limit in limits:
        # written so that nan, an unknown cost, violates the limit
        if limit is not None and not after <= before * (1 + limit):
            return words
    return ""


def _stopped(n_asked: int, n_items: int, spend_limit: SpendLimit) -> str:
    limit = spend_limit.limit_usd
    if limit is None or (n_asked == n_items and not spend_limit.n_unpriced):
        return ""
    words = "all" if n_asked == n_items else f"stopped after {n_asked} of"
    words += f" {n_items} items" + (" are asked" if n_asked == n_items else "")
    spent = f"${spend_limit.spent_usd:.4g} of ${limit:.4g} are spent"
    if not spend_limit.n_unpriced:
        return f"{words}: {spent}"
    whose = ", ".join(sorted(filter(None, spend_limit.models)))
    return (
        f"{words}: {spent}, and the cost of {spend_limit.n_unpriced} calls is unknown"
        f"{f' ({whose})' if whose else ''}, so max_cost_usd cannot be kept; give the price"
    )


def _reason(
    verdict: ComparisonVerdict,
    winner: str,
    comparisons: Sequence[PairedComparison],
    results: Sequence[VariantResult],
    metric: str,
    rule: EvaluationRule,
) -> str:
    judged = [each for each in comparisons if each.metric == metric]
    if not judged:
        return f"{winner} is the only variant"
    best = max(judged, key=lambda each: (-_ORDER.index(each.verdict), each.difference))
    if verdict == "ship":
        chosen = next(each for each in judged if each.candidate == winner)
        if chosen.verdict != "ship":
            return (
                f"{winner} costs less and is not worse by more than {rule.max_loss:g}: {metric} "
                f"{chosen.difference:+.4g} [{chosen.low:+.4g}, {chosen.high:+.4g}] over {chosen.n} "
                f"items{_price(chosen, comparisons)}"
            )
        return f"{winner} is {chosen.reason}{_price(chosen, comparisons)}"
    dear = _too_dear(best.candidate, results, rule) if best.verdict == "ship" else ""
    if dear:
        return f"{best.candidate} is {best.reason}, but its {dear} is above what is allowed"
    return f"{best.candidate} against {best.baseline}: {best.reason}"


def _price(chosen: PairedComparison, comparisons: Sequence[PairedComparison]) -> str:
    parts = []
    for name, words in (("cost_usd", "cost"), ("latency_ms", "latency")):
        found = next(
            (c for c in comparisons if c.metric == name and c.candidate == chosen.candidate), None
        )
        if found is not None and found.mean_baseline > 0:
            parts.append(f"{words} {found.difference / found.mean_baseline:+.0%}")
    return f"; {', '.join(parts)}" if parts else ""
