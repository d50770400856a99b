"""Secrets in a pod, as the webhook of Flyte mounts those of Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flyteidl.admin.task_pb2 import TaskSpec
from flyteidl.core.security_pb2 import Secret

_PREFIX = "_FSEC_"


def mount_secrets(spec: TaskSpec, secrets: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Mount what the task requests, and return the environment that tells where it is.

    Args:
        spec: The compiled task.
        secrets: The cluster's secrets as `group/key`. One that is missing does not keep the pod
            from starting: the task fails when it looks.
        folder: Where files are mounted, in place of `/etc/flyte/secrets`.
    """
    env: dict[str, str] = {}
    for request in spec.template.security_context.secrets:
        value = secrets.get(f"{request.group}/{request.key}")
        if request.mount_requirement == Secret.MountType.ENV_VAR:
            env |= _as_variable(request, value)
        else:
            env |= _as_file(request, value, folder)
    return env


def _as_variable(request: Secret, value: str | None) -> dict[str, str]:
    env = {"FLYTE_SECRETS_ENV_PREFIX": _PREFIX}
    if value is None:
        return env
    names = [f"{_PREFIX}{request.group}_{request.key}".upper(), _own_name(request)]
    return env | {name: value for name in names if name}


def _as_file(request: Secret, value: str | None, folder: Path) -> dict[str, str]:
    path = folder / request.group.lower() / request.key.lower()
    path.parent.mkdir(parents=True, exist_ok=True)
    if value is not None:
        path.write_text(value)
    # the variable of the secret's own name holds where the file is, not what is in it
    named = {_own_name(request): str(path)} if _own_name(request) else {}
    return {"FLYTE_SECRETS_DEFAULT_DIR": str(folder), "FLYTE_SECRETS_FILE_PREFIX": "", **named}


def _own_name(request: Secret) -> str:
    # releases of flyteidl before 1.15 have no such field
    return str(getattr(request, "env_var", ""))
