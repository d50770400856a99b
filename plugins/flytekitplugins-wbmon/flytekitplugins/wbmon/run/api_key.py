"""Reads the W&B key from a Flyte secret, the user's callable, or the machine's W&B login."""

from __future__ import annotations

import logging
import netrc
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.wandb_hosts import login_names
from flytekitplugins.wbmon.errors import ConfigError, error_message, error_type
from flytekitplugins.wbmon.flyte.identity import TaskIdentity, current_identity
from flytekitplugins.wbmon.flyte.secrets import SecretNotFoundError, checked_text, read_secret
from flytekitplugins.wbmon.privacy.secrets import SecretRedactor

if TYPE_CHECKING:
    from flytekit import Secret

    from flytekitplugins.wbmon.run.settings import RunSettings

logger = logging.getLogger(__name__)


def read_api_key(
    secret: Secret | Callable[[], str] | None, *, api_host: str, is_local: bool
) -> ApiKey | None:
    """Read the W&B key.

    Outside a pod a missing secret is not an error: the W&B login of the machine is used instead,
    and without a login the run stays on disk.

    Args:
        secret: A `flytekit.Secret`, a callable without arguments, or None to use the login of the
            machine.
        api_host: URL of the W&B API; its host name selects the entry in `~/.netrc`.
        is_local: Whether the code runs outside a Flyte pod.

    Returns:
        None if there is no key; a warning is then logged.

    Raises:
        ConfigError: If the secret is empty or not text, or, in a pod, if it is missing.
    """
    key = _find_key(secret, api_host=api_host, is_local=is_local)
    if key is None:
        logger.warning(
            "no W&B key found: the run is kept on disk and not delivered. Set WANDB_API_KEY, or "
            "run `wandb login`%s.",
            "" if is_local else ", or give wandb_init a secret",
        )
    return key


def api_key_of(settings: RunSettings, identity: TaskIdentity) -> ApiKey | None:
    """The key for sending a run or its traces; None if there is no key or the run is offline.

    Raises:
        ConfigError: If the secret is empty or not text, or, in a pod, if it is missing.
    """
    # nothing is sent, so a missing secret is not an error here
    if settings.mode == "offline":
        return None
    return read_api_key(
        settings.secret, api_host=settings.resolved_api_host, is_local=identity.is_local
    )


def require_api_key(secret: Secret | None, *, api_host: str) -> ApiKey:
    """The key, for a node that cannot work without one.

    Raises:
        ConfigError: If there is no key.
    """
    key = _find_key(secret, api_host=api_host, is_local=current_identity().is_local)
    if key is None:
        raise ConfigError(
            "a W&B key is needed to talk to the server, found none; give the node a secret, or set "
            "WANDB_API_KEY"
        )
    return key


def _find_key(secret: Any, *, api_host: str, is_local: bool) -> ApiKey | None:
    try:
        value = _look_up(secret)
    except SecretNotFoundError as error:
        # a pod has no login of its own, so there a missing secret is a mistake
        if not is_local:
            raise
        if callable(secret):
            # not its message, which may hold what it fetched
            logger.warning(
                "W&B: the callable given as secret raised %s; this machine's W&B login is tried",
                type(error.__context__).__name__,
            )
        value = None
    if value is None:
        value = _machine_login(api_host)
    return None if value is None else ApiKey(value)


def _look_up(secret: Any) -> str | None:
    if secret is None:
        return None
    if callable(secret):
        return checked_text(_call(secret), "the secret must give the W&B key as text")
    return read_secret(secret, holds="the W&B key")


def _call(secret: Callable[[], str]) -> object:
    name = getattr(secret, "__qualname__", type(secret).__name__)
    try:
        return secret()
    except Exception as error:  # noqa: BLE001 - whatever the user's callable raises
        # `from None`: the callable's frames and message may contain the secret that it fetched
        raise SecretNotFoundError(
            f"the callable {name} given as secret must return the W&B key; it raised "
            f"{error_type(error)}: {SecretRedactor().text(error_message(error))}"
        ) from None


def _machine_login(api_host: str) -> str | None:
    # the order of wandb itself: the variable, then the entry that `wandb login` wrote
    in_environment = os.environ.get("WANDB_API_KEY", "").strip()
    if in_environment:
        return in_environment
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        # not `authenticators`, whose default entry may be the password of any other server
        entries = netrc.netrc(path).hosts
    except (OSError, netrc.NetrcParseError):
        # a file that is missing or cannot be parsed counts as no login
        return None
    # login, account, password: wandb stores the key as the password
    keys = [entries[name][2] for name in login_names(api_host) if name in entries]
    return next(filter(None, keys), None)
