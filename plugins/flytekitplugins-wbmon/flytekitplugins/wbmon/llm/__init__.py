"""LLM applications as monitored pipelines; each name is loaded when it is first asked for.

Importing this needs neither weave nor openai: what needs one says so when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flytekitplugins.wbmon.llm.breaker import CircuitBreaker
    from flytekitplugins.wbmon.llm.call_log import CallLog
    from flytekitplugins.wbmon.llm.calls import call_attributes
    from flytekitplugins.wbmon.llm.openai import instrument_openai
    from flytekitplugins.wbmon.llm.resilience import CallPolicy
    from flytekitplugins.wbmon.llm.session import current_trace
    from flytekitplugins.wbmon.llm.tracing import weave_init
    from flytekitplugins.wbmon.monitor.paired import compare_paired
    from flytekitplugins.wbmon.monitor.pricing import PriceTable
    from flytekitplugins.wbmon.records.usage import Budget
    from flytekitplugins.wbmon.stats.retrieval import retrieval_metrics

_HOMES = {
    "Budget": "records.usage",
    "CallLog": "llm.call_log",
    "CallPolicy": "llm.resilience",
    "CircuitBreaker": "llm.breaker",
    "PriceTable": "monitor.pricing",
    "call_attributes": "llm.calls",
    "compare_paired": "monitor.paired",
    "current_trace": "llm.session",
    "instrument_openai": "llm.openai",
    "retrieval_metrics": "stats.retrieval",
    "weave_init": "llm.tracing",
}
__all__ = [
    "Budget",
    "CallLog",
    "CallPolicy",
    "CircuitBreaker",
    "PriceTable",
    "call_attributes",
    "compare_paired",
    "current_trace",
    "instrument_openai",
    "retrieval_metrics",
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
