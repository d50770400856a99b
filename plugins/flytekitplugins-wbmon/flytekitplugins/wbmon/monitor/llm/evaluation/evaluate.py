"""Evaluation of variants on the same items, with paired comparisons."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from flytekitplugins.wbmon.arguments import listed
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.llm.evaluation.answer_cache import AnswerStore, item_numbers
from flytekitplugins.wbmon.monitor.llm.evaluation.ask import (
    Ask,
    EvaluationRun,
    SpendLimit,
    run_coroutine,
)
from flytekitplugins.wbmon.monitor.llm.evaluation.decide import decide, paired_comparisons
from flytekitplugins.wbmon.monitor.llm.evaluation.report import (
    TAKEN_NAMES,
    EvaluationReport,
)
from flytekitplugins.wbmon.monitor.llm.evaluation.results import (
    evaluated_item,
    mark_frontier,
    result_of,
    telling_examples,
)
from flytekitplugins.wbmon.monitor.llm.evaluation.rule import EvaluationRule
from flytekitplugins.wbmon.monitor.llm.evaluation.scorers import BUILTIN, Item, Scorer
from flytekitplugins.wbmon.monitor.llm.evaluation.variant import Variant
from flytekitplugins.wbmon.names import listed_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

KEPT_ITEMS = 2000

logger = logging.getLogger(__name__)


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

    A failed answer scores 0. That counts against a candidate, never for it: items on which the
    baseline did not answer are not compared. If a scorer fails, the answer has no score. With more
    failures than `rule.max_failed_share` there is no verdict, or none to ship.

    Args:
        items: The items, with the fields that prompts and scorers need; `id` identifies one. Items
            of one id, or without ids of one content, count as one, with the mean of their scores.
        variants: The variants, baseline first.
        ask: A function or coroutine function that answers an item with a variant.
        scorers: Names of built-in scorers, or a mapping of names to scorers.
        rule: The decision rule.
        store: Answers of earlier runs, which are not requested again.
        name: Name of the evaluation.

    Raises:
        ConfigError: If names are missing or not unique, or `max_cost_usd` is set and it is known
            that a model has no price.
    """
    rule = rule or EvaluationRule()
    known = _scorers(scorers)
    metric = rule.metric or next(iter(known))
    _check(variants, known, metric)
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
    numbers = item_numbers(items)
    results = mark_frontier([result_of(v, asked, numbers, known, rule) for v in variants], metric)
    comparisons = paired_comparisons(results, asked, numbers, metric, rule)
    places = {each.place for each in asked}
    n_asked, n_different = len(places), len({numbers[place] for place in places})
    stopped = _stopped(n_asked, len(items), spend_limit)
    decision = decide(
        comparisons,
        results,
        metric,
        rule,
        stopped=stopped,
        is_cut_off=n_asked < len(items),
        copies=f"{n_asked} items are {n_different} and copies" if n_different < n_asked else "",
    )
    return EvaluationReport(
        name=name,
        metric=metric,
        n_items=n_asked,
        n_not_asked=len(items) - n_asked,
        variants=tuple(results),
        comparisons=tuple(comparisons),
        verdict=decision.verdict,
        winner=decision.winner,
        n_to_decide=decision.n_to_decide,
        spent_usd=spend_limit.spent_usd,
        n_unpriced=spend_limit.n_unpriced,
        stopped=stopped,
        items=tuple(evaluated_item(each, items) for each in asked[:KEPT_ITEMS]),
        examples=telling_examples(asked, items, metric),
        reason=decision.reason,
        missing=decision.missing,
        max_failed_share=rule.max_failed_share,
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
    """
    rule = rule or EvaluationRule()
    # nothing is scored, so any scorer passes the check of the metric
    _check(variants, {"": BUILTIN["exact"]}, "")
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


def _check(variants: Sequence[Variant], scorers: Mapping[str, Scorer], metric: str) -> None:
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
