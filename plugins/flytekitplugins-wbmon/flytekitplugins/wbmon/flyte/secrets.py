"""Flyte secrets: how a task requests one, and the only place that reads one.

Code refers to a secret by a `flytekit.Secret`, that is by group, key, version and mount
requirement. Only this reference is serialised. The value is read in the process that needs it.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.identity import current_identity
from flytekitplugins.wbmon.flyte.internals import requested_secrets
from flytekitplugins.wbmon.privacy.secrets import mounted_variables
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json

if TYPE_CHECKING:
    from flytekit import Secret
    from flytekit.models.security import SecurityContext


# flytekit's defaults
_FOLDER = "/etc/secrets"
# nobody mounts more; a folder that is not only secrets must not be read to its end
_MOST_FILES = 200
_LARGEST = 64 * 1024
_NO_TEXT = "got bytes that are no text in UTF-8; create it from the text itself"


class SecretNotFoundError(ConfigError):
    """The secret was not found. Outside a pod the caller may have an alternative."""


def read_secret(secret: Secret, *, holds: str) -> str:
    """Read the text that a secret holds.

    Outside a pod an environment variable with the secret's name is accepted too: `WANDB_API_KEY`
    for group `wandb` and key `api_key`.

    Args:
        secret: The reference to the secret.
        holds: What the secret should hold, in words, for the error message.

    Returns:
        The text without surrounding whitespace.

    Raises:
        SecretNotFoundError: If the secret was not found.
        ConfigError: If the secret is not text, is empty, or cannot be read.
    """
    must = f"{_in_words(secret)} must hold {holds} as text"
    try:
        value = _look_up(secret)
    except UnicodeDecodeError:
        # `from None`: the error holds the bytes
        raise ConfigError(f"{must}, {_NO_TEXT}") from None
    except OSError as error:
        raise ConfigError(
            f"{must}; it is mounted, but this process cannot read it ({error}): let the user of "
            "the container read the file"
        ) from error
    if value is None:
        raise SecretNotFoundError(
            f"{_in_words(secret)} must hold {holds}; it was not found. {_cure(secret)}"
        )
    return checked_text(value, must)


def checked_text(value: object, must: str) -> str:
    """Check the value of a secret and remove surrounding whitespace.

    Args:
        value: The value that was found.
        must: What must hold, in words, as the start of the error message.

    Returns:
        The text without surrounding whitespace.

    Raises:
        ConfigError: If the value is not text, or is empty.
    """
    # no message contains the value
    if not isinstance(value, str):
        raise ConfigError(f"{must}, got {type(value).__name__}; give the text itself")
    # a secret made from a file often ends in a newline, and one of Windows begins with a mark;
    # HTTP headers may contain neither
    text = value.strip().removeprefix("\ufeff").strip()
    if not text:
        raise ConfigError(f"{must}, got an empty text")
    # a variable that was set from other bytes has surrogates for them
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ConfigError(f"{must}, {_NO_TEXT}")
    return text


def check_secret(secret: object) -> None:
    """Check that a secret is given by reference and not by its value.

    Raises:
        ConfigError: If `secret` is not a `flytekit.Secret` with a key.
    """
    from flytekit import Secret

    if not isinstance(secret, Secret) or not secret.key:
        got = "one without a key" if isinstance(secret, Secret) else type(secret).__name__
        raise ConfigError(
            f"a secret must be named by a flytekit.Secret, got {got}; never write a key or an "
            "address into code: Secret(group='wandb', key='api_key')"
        )


def request_secrets(task_kwargs: Mapping[str, Any], *secrets: Secret | None) -> dict[str, Any]:
    """Add secrets to the secret requests among a task's arguments, without duplicates.

    Args:
        task_kwargs: The task arguments that the user of the node passed.
        secrets: The secrets that the node needs; None is ignored.

    Returns:
        The task arguments with all secret requests.

    Raises:
        ConfigError: If a secret is not a `flytekit.Secret` with a key.
    """
    needed = [secret for secret in secrets if secret is not None]
    for secret in needed:
        if callable(secret):
            raise ConfigError(
                "the secret of a node must be a flytekit.Secret, got a callable, which only "
                "wandb_init and weave_init take: a node goes to its pod as settings, without the "
                "functions of your module. Give Secret(group='wandb', key='api_key')"
            )
        check_secret(secret)
    requests: dict[Any, Secret] = {}
    for secret in [*(task_kwargs.get("secret_requests") or ()), *needed]:
        # the user's request comes first and wins: it may say how the secret is mounted
        requests.setdefault(_name(secret), secret)
    return {**task_kwargs, "secret_requests": list(requests.values()) or None}


def with_secret(context: SecurityContext | None, secret: Any) -> SecurityContext | None:
    """A copy of a task's security context that also requests a secret.

    Args:
        context: The security context; None if the task has none.
        secret: A `flytekit.Secret`. None and a callable need no request.
    """
    from flytekit.models.security import SecurityContext

    if secret is None or callable(secret):
        return context
    before = list(context.secrets or ()) if context else []
    if any(_name(one) == _name(secret) for one in before):
        return context
    secrets = [*before, secret]
    # a new object: tasks may share the old one
    if context is None:
        return SecurityContext(secrets=secrets)
    return SecurityContext(run_as=context.run_as, secrets=secrets, tokens=context.tokens)


def secret_to_config(secret: Secret) -> dict[str, Any]:
    """The reference to a secret as JSON data, including its mount requirement."""
    config: dict[str, Any] = json.loads(record_to_json(secret))
    return config


def secret_from_config(config: Mapping[str, Any]) -> Secret:
    """The reference from the data that `secret_to_config` returned."""
    from flytekit import Secret

    return record_from_json(Secret, json.dumps(config))


def mounted_secrets() -> list[str]:
    """Every secret that Flyte has mounted in this pod, as variables or as files."""
    found = list(mounted_variables().values())
    folder = Path(os.environ.get("FLYTE_SECRETS_DEFAULT_DIR") or _FOLDER)
    if current_identity().is_local or not folder.is_dir():
        return found
    for path in itertools.islice(folder.rglob("*"), _MOST_FILES):
        with suppress(OSError):
            if path.is_file() and path.stat().st_size <= _LARGEST:
                found.append(path.read_text(encoding="utf-8-sig", errors="replace").strip())
    return found


def _look_up(secret: Secret) -> object:
    """The secret that was found; None if there is none.

    Raises:
        UnicodeDecodeError: If it is a file of something else than text.
        OSError: If it is a file that cannot be read.
    """
    from flytekit import current_context

    secrets = current_context().secrets
    named = {"group": secret.group, "key": secret.key, "group_version": secret.group_version}
    try:
        return secrets.get(**named)
    except UnicodeDecodeError:
        raise
    except ValueError:
        # flytekit can mount a secret in a variable of any name, but does not read it from there;
        # and outside a pod it reads the secret's own variable only in a task, not in a script
        own = getattr(secret, "env_var", None) or ""
        is_local = current_identity().is_local
        found = os.environ.get(own, os.environ.get(_local_variable(secret) if is_local else ""))
    if found is None and not is_local:
        # flytekit takes a file in a folder that this process may not enter for one that is missing
        with suppress(FileNotFoundError, NotADirectoryError):
            Path(secrets.get_secrets_file(**named)).stat()
    return found


def _cure(secret: Secret) -> str:
    identity = current_identity()
    if identity.is_local:
        return f"Set {_local_variable(secret)}; a pod has it from the cluster"
    # by the names that Flyte gives namespaces, unless the cluster is set up in another way
    namespace = f"{identity.project}-{identity.domain}"
    create = f"create it in the namespace {namespace} of the cluster (see secrets.example.yaml)"
    if all(_name(one) != _name(secret) for one in requested_secrets()):
        return (
            f"If need be, {create}, and let the task ask for it, with "
            f"secret_requests=[{_in_code(secret)}] or a decorator that is given it"
        )
    return (
        "The task has requested it, so the cluster has no secret of this name with this key: look "
        f"with `kubectl describe secret {secret.group} -n {namespace}`, and {create}"
    )


def _name(secret: Secret) -> tuple[str | None, str | None, str | None]:
    # the identity of a secret; how it is mounted is not part of it
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
