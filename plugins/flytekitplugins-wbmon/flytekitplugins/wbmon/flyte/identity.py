"""Who is running: which execution, node, shard and attempt of Flyte this process is.

Everything that tells two W&B runs apart, or ties them together, is derived here and nowhere else:
the run's id, its group, its `flyte` config block and the link back to the execution.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from flytekitplugins.wbmon.errors import ConfigError

MAX_ID_LENGTH = 64
PLACEHOLDERS = ("execution", "node", "attempt", "shard", "task", "date")

_PLACEHOLDER = re.compile(r"\{(\w+)(?::([^{}]*))?\}")
_NODE_IN_URL = re.compile(r"/nodeId/([^/]+)/nodes")
_ATTEMPT_AT_END = re.compile(r"/\d+/?$")
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskIdentity:
    """One attempt of one task, or of one shard of a mapped task.

    Attributes:
        is_local: Whether the code runs outside a Flyte pod; then most other fields are empty.
        execution: Name of the workflow execution.
        project: Flyte project of the execution.
        domain: Flyte domain of the execution.
        workflow: Name of the workflow, where Flyte says it.
        launch_plan: Name of the launch plan, where Flyte says it.
        task: Full name of the task.
        version: Version the task was registered with.
        node: Unique name of the node; for a shard of a mapped task, of the shard's own node.
        attempt: 0 for the first try.
        shard: Index in a mapped task; None elsewhere.
        execution_url: Page of the node in the Flyte console; empty unless the task has link config.
        image: The container's image, where Flyte says it.
        started_at: When the task started, UTC.
    """

    is_local: bool = True
    execution: str = ""
    project: str = ""
    domain: str = ""
    workflow: str = ""
    launch_plan: str = ""
    task: str = ""
    version: str = ""
    node: str = ""
    attempt: int = 0
    shard: int | None = None
    execution_url: str = ""
    image: str = ""
    started_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    @property
    def task_name(self) -> str:
        """The task's name without its module."""
        return self.task.rpartition(".")[2]

    def to_config(self) -> dict[str, Any]:
        """The `flyte` block of a run's config: what is known, nothing else."""
        names = ("execution", "project", "domain", "workflow", "launch_plan", "task", "version")
        known = {name: getattr(self, name) for name in (*names, "node", "execution_url", "image")}
        block: dict[str, Any] = {name: value for name, value in known.items() if value}
        if not self.is_local:
            block["attempt"] = self.attempt
        if self.shard is not None:
            block["shard"] = self.shard
        return {"is_local": self.is_local, **block}


def current_identity(task: str = "", environ: Mapping[str, str] | None = None) -> TaskIdentity:
    """The identity of what is running now, from Flyte's context and the pod's environment.

    Args:
        task: Name to use for a mapped task, whose own name is a hash, and outside a pod.
        environ: The environment; that of the process if None.
    """
    from flytekitplugins.wbmon.flyte.internals import running_task

    environ = os.environ if environ is None else environ
    running = running_task()
    if running is None or running.is_local:
        return TaskIdentity(task=task)
    return _pod_identity(task, environ, running.params)


def _pod_identity(task: str, environ: Mapping[str, str], params: Any) -> TaskIdentity:
    execution = params.execution_id.name
    shard = _shard(environ)
    attempt = int(environ.get("FLYTE_ATTEMPT_NUMBER") or 0)
    own_name = params.task_id.name if params.task_id else ""
    return TaskIdentity(
        is_local=False,
        execution=execution,
        project=params.execution_id.project,
        domain=params.execution_id.domain,
        workflow=_last_part(environ.get("FLYTE_INTERNAL_EXECUTION_WORKFLOW", "")),
        launch_plan=_last_part(environ.get("FLYTE_INTERNAL_EXECUTION_LAUNCHPLAN", "")),
        task=task if (shard is not None and task) or not own_name else own_name,
        version=(params.task_id.version or "") if params.task_id else "",
        node=_node(environ, execution, attempt, shard, params.output_metadata_prefix or ""),
        attempt=attempt,
        shard=shard,
        execution_url=environ.get("FLYTE_EXECUTION_URL", ""),
        image=environ.get("FLYTE_INTERNAL_IMAGE", ""),
        started_at=params.execution_date or datetime.now(timezone.utc),
    )


def _shard(environ: Mapping[str, str]) -> int | None:
    index = environ.get(environ.get("BATCH_JOB_ARRAY_INDEX_VAR_NAME", ""))
    return (
        None
        if index is None
        else int(index) + int(environ.get("BATCH_JOB_ARRAY_INDEX_OFFSET") or 0)
    )


def _last_part(name: str) -> str:
    return name.rpartition(":")[2]


def _node(
    environ: Mapping[str, str], execution: str, attempt: int, shard: int | None, metadata: str
) -> str:
    in_url = _NODE_IN_URL.search(environ.get("FLYTE_EXECUTION_URL", ""))
    if in_url:
        return in_url[1]
    host = environ.get("HOSTNAME", "")
    # with hostNetwork or an agent the host is not the pod, and many pods share its name
    if host.startswith(f"{execution}-") and host.endswith(f"-{attempt}"):
        return host.removeprefix(f"{execution}-").removesuffix(f"-{attempt}")
    where = _ATTEMPT_AT_END.sub("", metadata)
    node = "h" + hashlib.sha256(where.encode()).hexdigest()[:8]
    return node if shard is None else f"{node}-n{shard}"


def check_template(template: str) -> None:
    """Refuse a run id that W&B would refuse later, in the pod.

    Raises:
        ConfigError: If a placeholder is unknown or a character is not allowed in a run id.
    """
    unknown = [name for name, _ in _PLACEHOLDER.findall(template) if name not in PLACEHOLDERS]
    if unknown:
        raise ConfigError(
            f"id may use the placeholders {', '.join(PLACEHOLDERS)}; "
            f"got {{{unknown[0]}}} in {template!r}"
        )
    fixed = _PLACEHOLDER.sub("", template)
    if not template.strip() or _NOT_ALLOWED.search(fixed):
        raise ConfigError(
            "id must be made of letters, digits, '_', '.', '-' and placeholders such as "
            f"{{execution}}; got {template!r}"
        )


def is_template(text: str) -> bool:
    """Whether the id depends on the execution."""
    return _PLACEHOLDER.search(text) is not None


def run_id(identity: TaskIdentity, template: str | None = None, *, suffix: str = "") -> str | None:
    """The W&B run id of a task.

    Args:
        identity: What is running.
        template: A fixed id, used as it is, or one with placeholders (`{date:%Y%m}` formats the
            date). None: `{execution}-{node}-{attempt}` in a pod, W&B's own choice (None) elsewhere.
        suffix: Ends the id, to tell the processes of one task apart.

    Returns:
        At most 64 characters of `[A-Za-z0-9_.-]`; a longer one is cut and ended by a stable hash.
    """
    if template is None:
        if identity.is_local:
            return None
        template = "{execution}-{node}-{attempt}"
    return _fit(_PLACEHOLDER.sub(lambda found: _value(identity, found), template) + suffix)


def _value(identity: TaskIdentity, found: re.Match[str]) -> str:
    name, form = found[1], found[2]
    if name == "date":
        return identity.started_at.astimezone(timezone.utc).strftime(form or "%Y-%m-%d")
    if name == "task":
        return identity.task_name
    value = getattr(identity, name)
    return "" if value is None else str(value) or "local"


def _fit(text: str) -> str:
    clean = _NOT_ALLOWED.sub("-", text).strip("-") or "run"
    if len(clean) <= MAX_ID_LENGTH:
        return clean
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return f"{clean[: MAX_ID_LENGTH - len(digest) - 1]}-{digest}"
