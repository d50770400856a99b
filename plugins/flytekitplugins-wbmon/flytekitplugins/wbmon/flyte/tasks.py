"""Tells which tasks a decorator can be applied to."""

from __future__ import annotations

from flytekit import PythonFunctionTask, PythonInstanceTask

from flytekitplugins.wbmon.flyte import internals


def is_trackable_task(target: object) -> bool:
    """Whether the target is a task whose Python body runs in the pod."""
    if isinstance(target, (PythonFunctionTask, PythonInstanceTask)):
        return True
    return internals.mapped_task(target) is not None
