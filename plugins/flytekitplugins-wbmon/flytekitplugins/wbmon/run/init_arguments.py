"""The arguments of `wandb.init`: those of the user, completed with what Flyte knows of the task."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flytekitplugins.wbmon.flyte.identity import TaskIdentity
from flytekitplugins.wbmon.privacy.secrets import SecretRedactor, environment_secrets
from flytekitplugins.wbmon.run.description import described, redacted_description
from flytekitplugins.wbmon.run.ranks import Rank
from flytekitplugins.wbmon.run.settings import RunSettings
from flytekitplugins.wbmon.storage.room import (
    absolute_path,
    folder_with_room,
    why_not_writable,
    working_folder,
)

logger = logging.getLogger(__name__)


def init_arguments(
    settings: RunSettings,
    identity: TaskIdentity,
    *,
    run_id: str | None,
    inputs: Mapping[str, Any],
    redactor: SecretRedactor,
) -> dict[str, Any]:
    """The arguments of `wandb.init`, except those that depend on the delivery mode.

    Args:
        settings: The arguments of `wandb_init`.
        identity: Identity of the running task.
        run_id: The id of the run; None lets W&B choose.
        inputs: The task's inputs by name, for a `dir` argument that names an input.
        redactor: Hides secrets in the user's config.
    """
    given = dict(settings.init)
    # both are set by the delivery mode
    for name in ("mode", "reinit"):
        given.pop(name, None)
    given |= described(given)
    given |= {
        "project": settings.resolved_project,
        "entity": settings.resolved_entity,
        "id": run_id,
        "group": given.get("group") or identity.group or None,
        "job_type": given.get("job_type") or identity.task_name or None,
        "notes": _notes(identity, given.get("notes")),
        "dir": _directory(given.get("dir"), inputs, identity),
    }
    # again: when the settings were made, the task's secrets were not known yet
    config = redactor.config(_read_config(given.get("config")))
    return {**given, **redacted_description(given, redactor), "config": config}


def flyte_config(identity: TaskIdentity, rank: Rank | None) -> dict[str, Any]:
    """The `flyte` block of a run's config: the task's identity, and the rank if there is one."""
    return {**identity.to_config(), **(rank.to_config() if rank else {})}


def run_url(settings: RunSettings, run_id: str) -> str:
    """URL of the run's page; an empty text if the project or the entity is not known."""
    project, entity = settings.resolved_project, settings.resolved_entity
    if project is None or entity is None:
        return ""
    # `safe=""`: a slash in a name must not start another part of the path
    path = "/".join(quote(part, safe="") for part in (entity, project, "runs", run_id))
    return f"{settings.resolved_host}/{path}"


def _read_config(config: Any) -> Any:
    """The config as wandb understands it: it may be the path of a file, or the flags of absl."""
    if config is None or isinstance(config, Mapping):
        return config
    import wandb

    try:
        return wandb.helper.parse_config(config)  # type: ignore[attr-defined]
    except Exception as error:  # noqa: BLE001 - a file that is not there, flags that are not parsed
        # not the message, which may quote the config
        logger.warning(
            "W&B: the config is left out: it must be a dict, an object with attributes or the path "
            "of a YAML file, got %s that wandb cannot read (%s)",
            "a text" if isinstance(config, str) else type(config).__name__, type(error).__name__,
        )  # fmt: skip
        return None


def _notes(identity: TaskIdentity, own: str | None) -> str | None:
    link = f"[Execution URL]({identity.execution_url})" if identity.execution_url else None
    return os.linesep.join(part for part in (link, own) if part) or None


def _directory(own: Any, inputs: Mapping[str, Any], identity: TaskIdentity) -> str:
    if isinstance(own, str) and own in inputs:
        own = inputs[own]
    # a FlyteDirectory, which is not on this disk yet
    if hasattr(own, "download"):
        own = own.download()
    wanted = os.environ.get("WANDB_DIR") if own is None else str(own)
    if wanted:
        folder = absolute_path(wanted)
        why = _why_not_writable(folder)
        if not why:
            return str(folder)
        logger.warning(
            "W&B: the run is written to a temporary folder, as %s cannot be written to: %s",
            *map(SecretRedactor(environment_secrets()).text, (wanted, why)),
        )
    # always given: wandb keeps using the working directory of its first run in the process
    elif identity.is_local and (here := working_folder()) and not why_not_writable(here):
        return str(here)
    return tempfile.mkdtemp(prefix="wandb-", dir=folder_with_room())


def _why_not_writable(folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return str(error)
    return why_not_writable(folder)
