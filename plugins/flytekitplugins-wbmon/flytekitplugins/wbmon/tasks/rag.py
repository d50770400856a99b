"""The node that measures retrieval and the answers built on it."""

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
    """What `EvaluateRAG` asks and judges with."""

    answer: str
    rule: RAGRule
    relevance: str = ""
    groundedness: str = ""
    reference_scores: tuple[float, ...] = ()


class RAGEvaluated(NamedTuple):
    """A RAG report, and its gate for a `conditional`."""

    report: RAGReport
    degraded: bool


class EvaluateRAG(Node[RAGSettings]):
    """Ask a set of queries: is what is needed retrieved, and is what is said backed by it.

    Args:
        name: The task's name.
        answer: `answer(item) -> Answer` with `retrieved`, `scores`, `contexts` and `stage_ms`; a
            function at module level or `"module:name"`.
        rule: What is measured and what is allowed.
        relevance: A `Judge` of one document, as `"module:name"`; none if empty.
        groundedness: A `Judge` of an answer against its documents, likewise.
        reference_scores: Retrieval scores of a time when retrieval was good.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If a function has no name that a pod could find.
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
        super().__init__(name, settings, **task_kwargs)

    def compute(
        self,
        data: StructuredDataset,
        documents: StructuredDataset | None = None,
        at: datetime | None = None,
    ) -> RAGEvaluated:
        """Evaluate on a set of queries.

        Args:
            data: One row a query: `question`, and `relevant` (a list of ids) where it is known.
            documents: `id` and `changed_at` of the documents, for their age.
            at: Now, for ages.

        Returns:
            report: Measures with intervals, judges, latency by stage.
            degraded: Whether anything is worse than allowed.
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
            documents={row["id"]: row["changed_at"] for row in ages},
            at=at,
        )
        return RAGEvaluated(report=report, degraded=report.degraded)


def _judge(reference: str) -> Any:
    """A `Judge` by its name; its `judge` method takes what is to be judged by name."""
    if not reference:
        return None
    found = load_reference(reference)
    return getattr(found, "judge", found)
