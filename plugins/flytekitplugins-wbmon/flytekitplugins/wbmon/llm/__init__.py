"""Public names for monitoring LLM applications; each is imported on first access.

Importing this package needs neither weave nor openai. A feature that needs one of them raises an
error that names the missing extra when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flytekitplugins.wbmon.lazy_names import lazy_names

if TYPE_CHECKING:
    from flytekitplugins.wbmon.context import with_context
    from flytekitplugins.wbmon.llm.chat import answer_with, chat_with
    from flytekitplugins.wbmon.llm.circuit_breaker import CircuitBreaker
    from flytekitplugins.wbmon.llm.judge import Judge
    from flytekitplugins.wbmon.llm.openai import instrument_openai
    from flytekitplugins.wbmon.llm.policy import CallPolicy
    from flytekitplugins.wbmon.monitor.llm.calls.log import CallLog
    from flytekitplugins.wbmon.monitor.llm.calls.read import read_calls
    from flytekitplugins.wbmon.monitor.llm.calls.row import call_attributes
    from flytekitplugins.wbmon.monitor.llm.cost.price import Price
    from flytekitplugins.wbmon.monitor.llm.cost.prices import PriceTable
    from flytekitplugins.wbmon.monitor.llm.cost.report import Budget
    from flytekitplugins.wbmon.monitor.llm.evaluation.compare import compare_paired
    from flytekitplugins.wbmon.monitor.llm.evaluation.evaluate import evaluate_variants
    from flytekitplugins.wbmon.monitor.llm.evaluation.prompt import PromptTemplate
    from flytekitplugins.wbmon.monitor.llm.evaluation.scorers import (
        IsJson,
        Judged,
        Matches,
        Similar,
    )
    from flytekitplugins.wbmon.monitor.llm.feedback.scale import RatingScale
    from flytekitplugins.wbmon.monitor.llm.rag.evaluate import evaluate_rag
    from flytekitplugins.wbmon.monitor.llm.steps.analyze import analyse_steps
    from flytekitplugins.wbmon.monitor.llm.steps.spans import read_spans, spans_of_records
    from flytekitplugins.wbmon.stats.retrieval import retrieval_metrics
    from flytekitplugins.wbmon.traces.decorator import weave_init
    from flytekitplugins.wbmon.traces.prompts import PromptRegistry
    from flytekitplugins.wbmon.traces.session import current_trace

_HOMES = {
    "Budget": "monitor.llm.cost.report",
    "CallLog": "monitor.llm.calls.log",
    "CallPolicy": "llm.policy",
    "CircuitBreaker": "llm.circuit_breaker",
    "IsJson": "monitor.llm.evaluation.scorers",
    "Judge": "llm.judge",
    "Judged": "monitor.llm.evaluation.scorers",
    "Matches": "monitor.llm.evaluation.scorers",
    "Price": "monitor.llm.cost.price",
    "PriceTable": "monitor.llm.cost.prices",
    "PromptRegistry": "traces.prompts",
    "PromptTemplate": "monitor.llm.evaluation.prompt",
    "RatingScale": "monitor.llm.feedback.scale",
    "Similar": "monitor.llm.evaluation.scorers",
    "analyse_steps": "monitor.llm.steps.analyze",
    "answer_with": "llm.chat",
    "call_attributes": "monitor.llm.calls.row",
    "chat_with": "llm.chat",
    "compare_paired": "monitor.llm.evaluation.compare",
    "current_trace": "traces.session",
    "evaluate_rag": "monitor.llm.rag.evaluate",
    "evaluate_variants": "monitor.llm.evaluation.evaluate",
    "instrument_openai": "llm.openai",
    "read_calls": "monitor.llm.calls.read",
    "read_spans": "monitor.llm.steps.spans",
    "retrieval_metrics": "stats.retrieval",
    "spans_of_records": "monitor.llm.steps.spans",
    "weave_init": "traces.decorator",
    "with_context": "context",
}
__all__ = [
    "Budget",
    "CallLog",
    "CallPolicy",
    "CircuitBreaker",
    "IsJson",
    "Judge",
    "Judged",
    "Matches",
    "Price",
    "PriceTable",
    "PromptRegistry",
    "PromptTemplate",
    "RatingScale",
    "Similar",
    "analyse_steps",
    "answer_with",
    "call_attributes",
    "chat_with",
    "compare_paired",
    "current_trace",
    "evaluate_rag",
    "evaluate_variants",
    "instrument_openai",
    "read_calls",
    "read_spans",
    "retrieval_metrics",
    "spans_of_records",
    "weave_init",
    "with_context",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
