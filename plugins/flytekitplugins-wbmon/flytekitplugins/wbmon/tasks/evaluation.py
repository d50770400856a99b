"""The nodes that compare prompts and models on the same items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.arguments import listed
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.filesystem import filesystem_of_task
from flytekitplugins.wbmon.flyte.function_reference import load_reference, reference_of, rows_of
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.llm.evaluation.report import EvaluationReport
from flytekitplugins.wbmon.monitor.llm.evaluation.rule import EvaluationRule
from flytekitplugins.wbmon.monitor.llm.evaluation.variant import Variant
from flytekitplugins.wbmon.tasks._node import Node

if TYPE_CHECKING:
    from flytekitplugins.wbmon.monitor.llm.evaluation.answer_cache import AnswerStore

ScorerName = str | Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """Settings of the evaluation nodes, where they are described."""

    answer: str
    variants: tuple[Variant, ...]
    scorers: tuple[tuple[str, str], ...] = ()
    rule: EvaluationRule
    registry: str = ""
    answer_store: str = ""

    def __post_init__(self) -> None:
        if not self.variants:
            raise ConfigError("an evaluation must have variants, the baseline first; got none")


class Evaluated(NamedTuple):
    """An evaluation report, with primitive outputs for a `conditional`."""

    report: EvaluationReport
    ship: bool
    verdict: str


class EvaluatePrompts(Node[EvaluationSettings]):
    """Answer the same items with each variant, and decide whether one should replace the baseline.

    Functions are stored by name, because the pod imports them: pass a function at module level, or
    `"module:name"` of any callable variable.

    Args:
        name: The task's name.
        answer: A function or coroutine function `answer(item, variant) -> Answer`, which answers an
            item with the prompt and model of a variant; `answer_with` makes one for an OpenAI
            client.
        variants: The variants, baseline first. A variant without a prompt uses the published
            prompt with its `prompt_name` and `prompt_version`.
        scorers: Names of built-in scorers (`exact`, `f1`, `contains`, `complete`, `cites`,
            `no_personal_data`), functions, or a mapping of names to functions.
        rule: The decision rule.
        registry: Folder of the prompt registry; required for published prompts.
        answer_store: Folder where answers are stored, so that only changed requests are sent again.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If there are no variants, or a function has no name that a pod could find.
    """

    shared_urls = ("registry", "answer_store")

    def __init__(
        self,
        name: str,
        *,
        answer: Callable[..., Any] | str,
        variants: Sequence[Variant],
        scorers: Sequence[ScorerName] | Mapping[str, ScorerName] = ("exact",),
        rule: EvaluationRule | None = None,
        registry: str = "",
        answer_store: str = "",
        **task_kwargs: Any,
    ) -> None:
        settings = EvaluationSettings(
            answer=reference_of(answer),
            variants=listed("variants", variants, "variants"),
            scorers=_named(scorers),
            rule=rule or EvaluationRule(),
            registry=registry,
            answer_store=answer_store,
        )
        super().__init__(name, settings, **task_kwargs)

    def compute(self, data: StructuredDataset) -> Evaluated:
        """Evaluate on a data set.

        Args:
            data: One row per item: `question`, `expected`, `id`, and the fields used in prompts.

        Returns:
            report: Quality, cost and latency of each variant, and their comparison.
            ship: Whether a candidate should replace the baseline.
            verdict: `ship`, `hold` or `undecided`.
        """
        from flytekitplugins.wbmon.monitor.llm.evaluation.evaluate import evaluate_variants

        config = self.config
        report = evaluate_variants(
            rows_of(open_data(data)),
            _variants(config),
            load_reference(config.answer),
            scorers=_loaded(config.scorers),
            rule=config.rule,
            store=_answers(config.answer_store) if config.answer_store else None,
            name=self.name,
        )
        return Evaluated(report=report, ship=report.ship, verdict=report.verdict)


class AnswerPrompts(Node[EvaluationSettings]):
    """Answer one shard of the items and store the answers, so that `map_task` can run in parallel.

    An `EvaluatePrompts` with the same `answer`, `variants` and `answer_store` then finds every
    answer in the store and sends no request:

        counts = map_task(partial(ask, data=items, n_shards=8))(shard=[0, 1, 2, 3, 4, 5, 6, 7])
        compared = evaluate(data=items)
        counts >> compared.report

    Args:
        name: The task's name.
        answer: As for `EvaluatePrompts`.
        variants: As for `EvaluatePrompts`.
        answer_store: Folder where answers are stored.
        rule: Only `repeats`, `concurrency` and `max_cost_usd` (for each shard) are used.
        registry: As for `EvaluatePrompts`.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If there are no variants, or a function has no name that a pod could find.
    """

    shared_urls = ("registry", "answer_store")

    def __init__(
        self,
        name: str,
        *,
        answer: Callable[..., Any] | str,
        variants: Sequence[Variant],
        answer_store: str,
        rule: EvaluationRule | None = None,
        registry: str = "",
        **task_kwargs: Any,
    ) -> None:
        settings = EvaluationSettings(
            answer=reference_of(answer),
            variants=listed("variants", variants, "variants"),
            rule=rule or EvaluationRule(),
            registry=registry,
            answer_store=answer_store,
        )
        super().__init__(name, settings, **task_kwargs)

    def compute(self, data: StructuredDataset, shard: int, n_shards: int) -> int:
        """Answer every `n_shards`-th item, starting with item `shard`.

        Args:
            data: One row per item.
            shard: Index of the shard, from 0.
            n_shards: Number of shards.

        Returns:
            n_answers: Number of answers of this shard in the store.
        """
        from flytekitplugins.wbmon.monitor.llm.evaluation.evaluate import fill_answers

        config = self.config
        items = rows_of(open_data(data))[shard::n_shards]
        # the list of shards is fixed in the workflow, so there may be more shards than items
        if not items:
            return 0
        return fill_answers(
            items,
            _variants(config),
            load_reference(config.answer),
            store=_answers(config.answer_store),
            rule=config.rule,
        )


class CompareModels(EvaluatePrompts):
    """Compare quality, cost and latency of several models on the same items and prompt.

    Args:
        name: The task's name.
        answer: As for `EvaluatePrompts`.
        models: The models, with the current one first.
        prompt: Messages of `(role, text)`, or the text of one user message.
        parameters: Parameters of every request, such as `temperature`.
        scorers: As for `EvaluatePrompts`.
        rule: The decision rule.
        answer_store: As for `EvaluatePrompts`.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If there are fewer than two models.
    """

    def __init__(
        self,
        name: str,
        *,
        answer: Callable[..., Any] | str,
        models: Sequence[str],
        prompt: Sequence[tuple[str, str]] | str,
        parameters: Mapping[str, Any] | None = None,
        scorers: Sequence[ScorerName] | Mapping[str, ScorerName] = ("exact",),
        rule: EvaluationRule | None = None,
        answer_store: str = "",
        **task_kwargs: Any,
    ) -> None:
        if len(models) < 2:  # noqa: PLR2004 - a comparison
            raise ConfigError(f"{name!r} must have at least two models, got {list(models)}")
        messages = (("user", prompt),) if isinstance(prompt, str) else tuple(prompt)
        variants = [
            Variant(name=model, model=model, prompt=messages, parameters=dict(parameters or {}))
            for model in models
        ]
        super().__init__(
            name,
            answer=answer,
            variants=variants,
            scorers=scorers,
            rule=rule,
            answer_store=answer_store,
            **task_kwargs,
        )


def _answers(uri: str) -> AnswerStore:
    from flytekitplugins.wbmon.monitor.llm.evaluation.answer_cache import AnswerStore

    return AnswerStore(uri, filesystem=filesystem_of_task(uri))


def _variants(config: EvaluationSettings) -> list[Variant]:
    from flytekitplugins.wbmon.monitor.llm.prompts.registry import resolve_variants

    files = filesystem_of_task(config.registry) if config.registry else None
    return resolve_variants(config.variants, config.registry, filesystem=files)


def _named(
    scorers: Sequence[ScorerName] | Mapping[str, ScorerName],
) -> tuple[tuple[str, str], ...]:
    if isinstance(scorers, Mapping):
        return tuple((name, _scorer(each)) for name, each in scorers.items())
    references = [_scorer(each) for each in listed("scorers", scorers, "names of scorers")]
    return tuple((each.rpartition(":")[2], each) for each in references)


def _scorer(scorer: ScorerName) -> str:
    # a name without a colon cannot be a reference, so it is one of the built-in scorers
    is_builtin = isinstance(scorer, str) and ":" not in scorer
    return (
        f"flytekitplugins.wbmon.monitor.llm.evaluation.scorers:{scorer}"
        if is_builtin
        else reference_of(scorer)
    )


def _loaded(scorers: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {name: load_reference(reference) for name, reference in scorers}
