"""Flyte's secrets: how a task asks for one, and the one place that reads it.

A secret is named in code by a `flytekit.Secret` and travels by that name: group, key, version and
the way it is mounted. Its value is read in the process that needs it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.identity import current_identity
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json

if TYPE_CHECKING:
    from flytekit import Secret
    from flytekit.models.security import SecurityContext


class SecretNotFoundError(ConfigError):
    """The secret is not where it should be; outside a pod that may be no error."""


def read_secret(secret: Secret, *, holds: str) -> str:
    """The text that a secret holds.

    Outside a pod the variable that is called as the secret serves too: `WANDB_API_KEY` for group
    `wandb` and key `api_key`.

    Args:
        secret: Its name.
        holds: What it should hold, in words; for the error.

    Returns:
        The text without space around it.

    Raises:
        SecretNotFoundError: If it is not there.
        ConfigError: If it is no text, or empty.
    """
    value = _look_up(secret)
    if value is None:
        raise SecretNotFoundError(
            f"{_in_words(secret)} must hold {holds}; it was not found. In a pod: create it in the "
            "cluster (see secrets.example.yaml) and let the task ask for it, with "
            f"secret_requests=[{_in_code(secret)}] or a decorator that is given it. For a local "
            f"run: set {_local_variable(secret)}"
        )
    return checked_text(value, f"{_in_words(secret)} must hold {holds} as text")


def checked_text(value: object, must: str) -> str:
    """A secret without space around it.

    Args:
        value: What was found.
        must: What must hold, in words; for the error.

    Raises:
        ConfigError: If it is no text, or empty.
    """
    if not isinstance(value, str):
        raise ConfigError(f"{must}, got {type(value).__name__}; give the text itself")
    if not value.strip():
        raise ConfigError(f"{must}, got an empty text")
    return value.strip()


def check_secret(secret: object) -> None:
    """Refuse what is no name of a secret.

    Raises:
        ConfigError: If it is no `flytekit.Secret` with a key.
    """
    from flytekit import Secret

    if not isinstance(secret, Secret) or not secret.key:
        got = "one without a key" if isinstance(secret, Secret) else type(secret).__name__
        raise ConfigError(
            f"a secret must be named by a flytekit.Secret, got {got}; never write a key or an "
            "address into code: Secret(group='wandb', key='api_key')"
        )


def request_secrets(task_kwargs: Mapping[str, Any], *secrets: Secret | None) -> dict[str, Any]:
    """The arguments of a node's task with secrets among its requests, each once.

    Args:
        task_kwargs: As the node's user gave them.
        secrets: What the node needs; None is left out.

    Raises:
        ConfigError: If one of them is no name of a secret.
    """
    needed = [secret for secret in secrets if secret is not None]
    for secret in needed:
        check_secret(secret)
    requests: dict[Any, Secret] = {}
    for secret in [*(task_kwargs.get("secret_requests") or ()), *needed]:
        requests.setdefault(_name(secret), secret)
    return {**task_kwargs, "secret_requests": list(requests.values()) or None}


def with_secret(context: SecurityContext | None, secret: Any) -> SecurityContext | None:
    """A task's security context with a secret among its requests; a callable needs none."""
    from flytekit.models.security import SecurityContext

    if secret is None or callable(secret):
        return context
    before = list(context.secrets or ()) if context else []
    if any(_name(one) == _name(secret) for one in before):
        return context
    secrets = [*before, secret]
    if context is None:
        return SecurityContext(secrets=secrets)
    return SecurityContext(run_as=context.run_as, secrets=secrets, tokens=context.tokens)


def secret_to_config(secret: Secret) -> dict[str, Any]:
    """A secret's name as JSON data, with how it is mounted."""
    config: dict[str, Any] = json.loads(record_to_json(secret))
    return config


def secret_from_config(config: Mapping[str, Any]) -> Secret:
    """The secret that `secret_to_config` wrote."""
    from flytekit import Secret

    return record_from_json(Secret, json.dumps(config))


def _look_up(secret: Secret) -> object:
    from flytekit import current_context

    try:
        return current_context().secrets.get(
            group=secret.group, key=secret.key, group_version=secret.group_version
        )
    except ValueError:
        # flytekit mounts a secret in a variable of any name, but does not look there; and outside
        # a pod it looks for the secret's own variable in a task only, not in a script
        own = getattr(secret, "env_var", None) or ""
        local = _local_variable(secret) if current_identity().is_local else ""
        return os.environ.get(own, os.environ.get(local))


def _name(secret: Secret) -> tuple[str | None, str | None, str | None]:
    return secret.group, secret.key, secret.group_version


def _in_words(secret: Secret) -> str:
    version = f", version {secret.group_version!r}" if secret.group_version else ""
    return f"the secret group {secret.group!r}, key {secret.key!r}{version}"


def _in_code(secret: Secret) -> str:
    version = f", group_version={secret.group_version!r}" if secret.group_version else ""
    return f"Secret(group={secret.group!r}, key={secret.key!r}{version})"


def _local_variable(secret: Secret) -> str:
    return "_".join(
        part for part in (secret.group, secret.group_version, secret.key) if part
    ).upper()
