"""The W&B key: where it comes from, and how it stays out of sight.

The key is read when the run opens and handed to the one process that delivers. There is no login,
no netrc is written, no server is asked, and the task's environment never holds it.
"""

from __future__ import annotations

import logging
import netrc
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.privacy.secrets import SecretRedactor

if TYPE_CHECKING:
    from flytekit import Secret

logger = logging.getLogger(__name__)


class _SecretNotFoundError(ConfigError):
    """The secret is not where it should be; outside a pod that is no error."""


class ApiKey:
    """A W&B key that does not print itself and refuses to be pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself, for the one who must send it."""
        return self._value

    def __repr__(self) -> str:
        return "ApiKey([redacted])"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a W&B key must not leave the process; pass the Secret that names it")


def read_api_key(
    secret: Secret | Callable[[], str] | None, *, api_host: str, is_local: bool
) -> ApiKey | None:
    """The key that `secret` stands for.

    Outside a pod a missing secret is no error: the usual W&B login of the machine is used, and
    without one the run stays on disk.

    Args:
        secret: A `flytekit.Secret`, a callable without arguments, or None for W&B's environment.
        api_host: URL of the W&B API; names the entry in `~/.netrc`.
        is_local: Whether the code runs outside a Flyte pod.

    Returns:
        None if there is no key and none was asked for.

    Raises:
        ConfigError: In a pod, if the secret is not there, or is not text.
    """
    try:
        value = _look_up(secret)
    except _SecretNotFoundError:
        if not is_local:
            raise
        value = None
    if value is None:
        value = _machine_login(api_host)
    if value is None:
        logger.warning(
            "no W&B key found: the run is kept on disk and not delivered. Set WANDB_API_KEY, or "
            "run `wandb login`%s.",
            "" if is_local else ", or give wandb_init a secret",
        )
        return None
    return ApiKey(value)


def _look_up(secret: Any) -> str | None:
    if secret is None:
        return None
    return _checked(_call(secret) if callable(secret) else _flyte_secret(secret))


def _flyte_secret(secret: Secret) -> str:
    from flytekit import current_context

    try:
        return current_context().secrets.get(
            group=secret.group, key=secret.key, group_version=secret.group_version
        )
    except ValueError:
        raise _SecretNotFoundError(
            f"the task must be given the W&B key as secret group {secret.group!r}, key "
            f"{secret.key!r}; it was not found in the pod. Request it (put @wandb_init above "
            f"@task, or add secret_requests=[Secret(group={secret.group!r}, key={secret.key!r})]) "
            "and create it in the cluster (see secrets.example.yaml)"
        ) from None


def _call(secret: Callable[[], str]) -> str:
    name = getattr(secret, "__qualname__", type(secret).__name__)
    try:
        return secret()
    except Exception as error:  # noqa: BLE001 - whatever the user's callable raises
        # the chain is cut: the callable's own frames and message may hold what it fetched
        raise _SecretNotFoundError(
            f"the callable {name} given as secret must return the W&B key; it raised "
            f"{type(error).__name__}: {SecretRedactor().text(str(error))}"
        ) from None


def _checked(value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(
            f"the secret must give the W&B key as text, got {type(value).__name__}; "
            "return the key itself, not its container"
        )
    if not value.strip():
        raise ConfigError("the secret must give the W&B key, got an empty text")
    return value.strip()


def _machine_login(api_host: str) -> str | None:
    in_environment = os.environ.get("WANDB_API_KEY", "").strip()
    if in_environment:
        return in_environment
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        entry = netrc.netrc(path).authenticators(urlsplit(api_host).hostname or "")
    except (OSError, netrc.NetrcParseError):
        return None
    return entry[2] if entry and entry[2] else None
