"""Which tasks a decorator goes on, and how one asks for a secret."""

from __future__ import annotations

from typing import Any

from flytekit import PythonFunctionTask, PythonInstanceTask
from flytekit.models.security import SecurityContext

from flytekitplugins.wbmon.flyte import internals


def is_trackable_task(target: object) -> bool:
    """Whether the target is a task whose Python body runs in the pod."""
    if isinstance(target, (PythonFunctionTask, PythonInstanceTask)):
        return True
    return internals.mapped_task(target) is not None


def with_secret(context: SecurityContext | None, secret: Any) -> SecurityContext | None:
    """The task's security context with the W&B secret among its requests."""
    if secret is None or callable(secret):
        return context
    before = list(context.secrets or ()) if context else []
    if any((one.group, one.key) == (secret.group, secret.key) for one in before):
        return context
    secrets = [*before, secret]
    if context is None:
        return SecurityContext(secrets=secrets)
    return SecurityContext(run_as=context.run_as, secrets=secrets, tokens=context.tokens)
