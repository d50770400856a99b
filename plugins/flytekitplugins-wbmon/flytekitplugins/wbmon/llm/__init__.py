"""LLM applications as monitored pipelines; each name is loaded when it is first asked for.

Importing this needs neither weave nor openai: what needs one says so when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flytekitplugins.wbmon.monitor.paired import compare_paired
    from flytekitplugins.wbmon.monitor.pricing import PriceTable
    from flytekitplugins.wbmon.records.usage import Budget
    from flytekitplugins.wbmon.stats.retrieval import retrieval_metrics

_HOMES = {
    "Budget": "records.usage",
    "PriceTable": "monitor.pricing",
    "compare_paired": "monitor.paired",
    "retrieval_metrics": "stats.retrieval",
}
__all__ = [
    "Budget",
    "PriceTable",
    "compare_paired",
    "retrieval_metrics",
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
