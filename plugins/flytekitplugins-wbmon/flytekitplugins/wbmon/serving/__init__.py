"""Logging from model servers: the prediction log, its adapters for web frameworks, its redactors.

Importing this package needs nothing beyond the standard library; each name loads its module when it
is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flytekitplugins.wbmon.lazy_names import lazy_names

if TYPE_CHECKING:
    from flytekitplugins.wbmon.context import with_context
    from flytekitplugins.wbmon.privacy.patterns import PatternRedactor, Redactor
    from flytekitplugins.wbmon.privacy.presidio import PresidioRedactor
    from flytekitplugins.wbmon.serving.adapters.asgi import PredictionLoggingMiddleware
    from flytekitplugins.wbmon.serving.adapters.gradio import gradio_feedback, monitor_gradio
    from flytekitplugins.wbmon.serving.adapters.shown import ShownPredictions
    from flytekitplugins.wbmon.serving.adapters.streamlit import streamlit_session
    from flytekitplugins.wbmon.serving.adapters.wandb_sink import WandbSink
    from flytekitplugins.wbmon.serving.log.assignment import Experiment
    from flytekitplugins.wbmon.serving.log.logger import PredictionLogger
    from flytekitplugins.wbmon.serving.log.sampling import SamplingPolicy

_HOMES = {
    "Experiment": "serving.log.assignment",
    "PatternRedactor": "privacy.patterns",
    "PredictionLogger": "serving.log.logger",
    "PredictionLoggingMiddleware": "serving.adapters.asgi",
    "PresidioRedactor": "privacy.presidio",
    "Redactor": "privacy.patterns",
    "SamplingPolicy": "serving.log.sampling",
    "ShownPredictions": "serving.adapters.shown",
    "WandbSink": "serving.adapters.wandb_sink",
    "gradio_feedback": "serving.adapters.gradio",
    "monitor_gradio": "serving.adapters.gradio",
    "streamlit_session": "serving.adapters.streamlit",
    "with_context": "context",
}
__all__ = [
    "Experiment",
    "PatternRedactor",
    "PredictionLogger",
    "PredictionLoggingMiddleware",
    "PresidioRedactor",
    "Redactor",
    "SamplingPolicy",
    "ShownPredictions",
    "WandbSink",
    "gradio_feedback",
    "monitor_gradio",
    "streamlit_session",
    "with_context",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
