"""LLM applications as monitored pipelines; each name is loaded when it is first asked for.

Importing this needs neither weave nor openai: what needs one says so when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flytekitplugins.wbmon.llm.breaker import CircuitBreaker
    from flytekitplugins.wbmon.llm.call_log import CallLog
    from flytekitplugins.wbmon.llm.calls import call_attributes
    from flytekitplugins.wbmon.llm.chat import answer_with, chat_with
    from flytekitplugins.wbmon.llm.judge import Judge
    from flytekitplugins.wbmon.llm.openai import instrument_openai
    from flytekitplugins.wbmon.llm.prompts import PromptRegistry
    from flytekitplugins.wbmon.llm.resilience import CallPolicy
    from flytekitplugins.wbmon.llm.session import current_trace
    from flytekitplugins.wbmon.llm.tracing import weave_init
    from flytekitplugins.wbmon.monitor.calls import read_calls
    from flytekitplugins.wbmon.monitor.evaluation import evaluate_variants
    from flytekitplugins.wbmon.monitor.paired import compare_paired
    from flytekitplugins.wbmon.monitor.pricing import PriceTable
    from flytekitplugins.wbmon.monitor.quality import IsJson, Judged, Matches, Similar
    from flytekitplugins.wbmon.monitor.rag import evaluate_rag
    from flytekitplugins.wbmon.monitor.spans import read_spans, spans_of_records
    from flytekitplugins.wbmon.monitor.steps import analyse_steps
    from flytekitplugins.wbmon.records.prompt import PromptTemplate
    from flytekitplugins.wbmon.records.usage import Budget, Price
    from flytekitplugins.wbmon.stats.retrieval import retrieval_metrics

_HOMES = {
    "Budget": "records.usage",
    "CallLog": "llm.call_log",
    "CallPolicy": "llm.resilience",
    "CircuitBreaker": "llm.breaker",
    "IsJson": "monitor.quality",
    "Judge": "llm.judge",
    "Judged": "monitor.quality",
    "Matches": "monitor.quality",
    "Price": "records.usage",
    "PriceTable": "monitor.pricing",
    "PromptRegistry": "llm.prompts",
    "PromptTemplate": "records.prompt",
    "Similar": "monitor.quality",
    "analyse_steps": "monitor.steps",
    "answer_with": "llm.chat",
    "call_attributes": "llm.calls",
    "chat_with": "llm.chat",
    "compare_paired": "monitor.paired",
    "current_trace": "llm.session",
    "evaluate_rag": "monitor.rag",
    "evaluate_variants": "monitor.evaluation",
    "instrument_openai": "llm.openai",
    "read_calls": "monitor.calls",
    "read_spans": "monitor.spans",
    "retrieval_metrics": "stats.retrieval",
    "spans_of_records": "monitor.spans",
    "weave_init": "llm.tracing",
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
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"flytekitplugins.wbmon.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
