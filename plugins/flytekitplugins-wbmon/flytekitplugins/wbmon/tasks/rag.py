"""The node that evaluates retrieval-augmented generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.flyte.function_reference import load_reference, reference_of, rows_of
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.llm.rag.report import RAGReport, RAGRule
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class RAGSettings:
    """Settings of `EvaluateRAG`, where they are described."""

    answer: str
    rule: RAGRule
    relevance: str = ""
    groundedness: str = ""
    reference_scores: tuple[float, ...] = ()


class RAGEvaluated(NamedTuple):
    """A RAG report, with primitive outputs for a `conditional`."""

    report: RAGReport
    degraded: bool
    verdict: str


class EvaluateRAG(Node[RAGSettings]):
    """Evaluate retrieval quality, and whether answers are supported by the retrieved documents.

    Args:
        name: The task's name.
        answer: `answer(item) -> Answer` with `retrieved`, `scores`, `contexts` and `stage_ms`; a
            function at module level or `"module:name"`.
        rule: What to measure, and the limits.
        relevance: A `Judge` of the relevance of one document, as `"module:name"`; none if empty.
        groundedness: A `Judge` of an answer given its documents, in the same form.
        reference_scores: Retrieval scores of a period in which retrieval was good.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If a function has no name that a pod could find, or a floor of the rule needs a
            judge that is not given.
    """

    def __init__(
        self,
        name: str,
        *,
        answer: Callable[..., Any] | str,
        rule: RAGRule | None = None,
        relevance: str = "",
        groundedness: str = "",
        reference_scores: Sequence[float] = (),
        **task_kwargs: Any,
    ) -> None:
        settings = RAGSettings(
            answer=reference_of(answer),
            rule=rule or RAGRule(),
            relevance=reference_of(relevance) if relevance else "",
            groundedness=reference_of(groundedness) if groundedness else "",
            reference_scores=tuple(map(float, reference_scores)),
        )
        settings.rule.check_judges(relevance=bool(relevance), groundedness=bool(groundedness))
        super().__init__(name, settings, **task_kwargs)

    def compute(
        self,
        data: StructuredDataset,
        documents: StructuredDataset | None = None,
        at: datetime | None = None,
    ) -> RAGEvaluated:
        """Evaluate on a set of queries.

        Args:
            data: One row per query: `question`, and `relevant` if known: a list of ids, grades by
                id (a map, or a mapping that Parquet made a struct of), or a list of pairs of both.
            documents: `id` and `changed_at` of the documents, from which their age follows.
            at: Time at which ages are computed; now if not given.

        Returns:
            report: Metrics with intervals, scores of the judges, latency by stage.
            degraded: Whether any limit of the rule is violated, or could not be judged: what was
                not measured is no pass.
            verdict: `ok`, `degraded` or `undecided`.
        """
        from flytekitplugins.wbmon.monitor.llm.rag.evaluate import evaluate_rag

        config = self.config
        ages = rows_of(open_data(documents)) if documents is not None else []
        report = evaluate_rag(
            rows_of(open_data(data)),
            load_reference(config.answer),
            rule=config.rule,
            relevance=_judge(config.relevance),
            groundedness=_judge(config.groundedness),
            reference_scores=config.reference_scores,
            documents={row["id"]: row["changed_at"] for row in ages if "changed_at" in row},
            at=at,
        )
        return RAGEvaluated(report=report, degraded=report.verdict != "ok", verdict=report.verdict)


def _judge(reference: str) -> Any:
    """Load a `Judge` by name; its method `judge` takes the texts as keyword arguments."""
    if not reference:
        return None
    found = load_reference(reference)
    # a `Judge` takes an answer and an item when called, its method takes texts
    return getattr(found, "judge", found)
