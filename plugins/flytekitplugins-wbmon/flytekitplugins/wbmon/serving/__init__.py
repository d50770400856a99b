"""The request side: what a model server did, written down without the server paying for it.

Importing this needs nothing beyond the standard library; a name is loaded when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flytekitplugins.wbmon.serving.asgi import PredictionLoggingMiddleware
    from flytekitplugins.wbmon.serving.experiment import Experiment
    from flytekitplugins.wbmon.serving.gradio import gradio_feedback, monitor_gradio
    from flytekitplugins.wbmon.serving.prediction_log import PredictionLogger
    from flytekitplugins.wbmon.serving.presidio import PresidioRedactor
    from flytekitplugins.wbmon.serving.redaction import PatternRedactor, Redactor
    from flytekitplugins.wbmon.serving.sampling import SamplingPolicy
    from flytekitplugins.wbmon.serving.streamlit import streamlit_session
    from flytekitplugins.wbmon.serving.wandb_sink import WandbSink

_HOMES = {
    "Experiment": "experiment",
    "PatternRedactor": "redaction",
    "PredictionLogger": "prediction_log",
    "PredictionLoggingMiddleware": "asgi",
    "PresidioRedactor": "presidio",
    "Redactor": "redaction",
    "SamplingPolicy": "sampling",
    "WandbSink": "wandb_sink",
    "gradio_feedback": "gradio",
    "monitor_gradio": "gradio",
    "streamlit_session": "streamlit",
}
__all__ = [
    "Experiment",
    "PatternRedactor",
    "PredictionLogger",
    "PredictionLoggingMiddleware",
    "PresidioRedactor",
    "Redactor",
    "SamplingPolicy",
    "WandbSink",
    "gradio_feedback",
    "monitor_gradio",
    "streamlit_session",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
