"""The redactor of a task: it knows the secrets that the task was given, besides their forms."""

from __future__ import annotations

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.flyte.secrets import mounted_secrets
from flytekitplugins.wbmon.privacy.secrets import SecretRedactor, environment_secrets


def task_redactor(key: ApiKey | None) -> SecretRedactor:
    """Hides the W&B key, the secrets that Flyte mounted and those of the environment variables.

    Args:
        key: The W&B key; None if there is none.
    """
    own = [key.reveal()] if key is not None else []
    return SecretRedactor([*own, *environment_secrets(), *mounted_secrets()])
