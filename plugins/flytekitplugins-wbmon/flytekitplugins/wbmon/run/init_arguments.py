"""What `wandb.init` is called with: the user's arguments, and what Flyte knows of the task."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flytekitplugins.wbmon.flyte.identity import TaskIdentity
from flytekitplugins.wbmon.privacy.secrets import SecretRedactor
from flytekitplugins.wbmon.run.ranks import Rank
from flytekitplugins.wbmon.run.settings import RunSettings


def init_arguments(
    settings: RunSettings,
    identity: TaskIdentity,
    *,
    run_id: str | None,
    inputs: Mapping[str, Any],
    redactor: SecretRedactor,
) -> dict[str, Any]:
    """Arguments of `wandb.init`, without those that say how the run is delivered.

    Args:
        settings: The arguments of `wandb_init`.
        identity: What is running.
        run_id: The run's id; None lets W&B choose.
        inputs: The task's inputs by name, for a `dir` that names one.
        redactor: Hides secrets in the user's config.
    """
    given = dict(settings.init)
    for name in ("mode", "reinit"):
        given.pop(name, None)
    given |= {
        "project": settings.resolved_project,
        "entity": settings.resolved_entity,
        "id": run_id,
        "group": given.get("group") or identity.execution or None,
        "job_type": given.get("job_type") or identity.task_name or None,
        "notes": _notes(identity, given.get("notes")),
        "dir": _directory(given.get("dir"), inputs, identity),
    }
    if isinstance(given.get("config"), Mapping):
        given["config"] = redactor.value(given["config"])
    return given


def flyte_config(identity: TaskIdentity, rank: Rank | None) -> dict[str, Any]:
    """The `flyte` block of a run's config."""
    return {**identity.to_config(), **(rank.to_config() if rank else {})}


def run_url(settings: RunSettings, run_id: str) -> str:
    """The page of the run; empty if its project or entity is not known."""
    project, entity = settings.resolved_project, settings.resolved_entity
    if project is None or entity is None:
        return ""
    path = "/".join(quote(part, safe="") for part in (entity, project, "runs", run_id))
    return f"{settings.host.rstrip('/')}/{path}"


def _notes(identity: TaskIdentity, own: str | None) -> str | None:
    link = f"[Execution URL]({identity.execution_url})" if identity.execution_url else None
    return os.linesep.join(part for part in (link, own) if part) or None


def _directory(own: Any, inputs: Mapping[str, Any], identity: TaskIdentity) -> str:
    if isinstance(own, str) and own in inputs:
        own = inputs[own]
    if hasattr(own, "download"):
        own = own.download()
    if own is not None:
        return str(own)
    if os.environ.get("WANDB_DIR"):
        return os.environ["WANDB_DIR"]
    # named each time: wandb remembers the working directory of its first use in the process
    here = str(Path.cwd())
    if identity.is_local and os.access(here, os.W_OK):
        return here
    return tempfile.mkdtemp(prefix="wandb-")
