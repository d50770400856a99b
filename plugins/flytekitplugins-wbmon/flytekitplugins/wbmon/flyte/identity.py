"""The Flyte identity of this process: its execution, node, shard and attempt.

Only this module derives what distinguishes or connects W&B runs: the id of a run, its group, its
`flyte` config block and the link to the execution.
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
from flytekitplugins.wbmon.flyte.id_inputs import (
    INPUT,
    NOT_ALLOWED,
    PLACEHOLDER,
    check_formats,
    id_text,
)
from flytekitplugins.wbmon.flyte.pod_name import pod_name
from flytekitplugins.wbmon.names import fitted_name
from flytekitplugins.wbmon.privacy.secrets import quoted_value

MAX_ID_LENGTH = 64
PLACEHOLDERS = ("execution", "node", "attempt", "shard", "task", "date")

_NODE_IN_URL = re.compile(r"/nodeId/([^/]+)/nodes")
_ATTEMPT_AT_END = re.compile(r"/\d+/?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskIdentity:
    """One attempt of one task, or of one shard of a mapped task.

    Attributes:
        is_local: Whether the code runs outside a Flyte pod; then most other fields are empty.
        execution: Name of the workflow execution.
        project: Flyte project of the execution.
        domain: Flyte domain of the execution.
        root: Name of the eager execution that has begun this one; empty if none has. Of an
            execution that a launch plan has begun inside another, Flyte does not tell.
        workflow: Name of the execution's workflow.
        task: Full name of the task.
        version: Version the task was registered with.
        node: Unique name of the node; for a shard of a mapped task, that of its own node.
        attempt: Number of the attempt; 0 for the first.
        shard: Index in the inputs of a mapped task; None elsewhere.
        execution_url: Page of the node in the Flyte console; empty unless the task has link config.
        started_at: When the task started, UTC.
    """

    is_local: bool = True
    execution: str = ""
    project: str = ""
    domain: str = ""
    root: str = ""
    workflow: str = ""
    task: str = ""
    version: str = ""
    node: str = ""
    attempt: int = 0
    shard: int | None = None
    execution_url: str = ""
    started_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    @property
    def task_name(self) -> str:
        """The task's name without its module."""
        return self.task.rpartition(".")[2]

    @property
    def group(self) -> str:
        """The execution whose runs belong together: the eager one that began it, or its own."""
        return self.root or self.execution

    def to_config(self) -> dict[str, Any]:
        """The `flyte` block of a run's config, with the known fields only."""
        names = ("execution", "root", "project", "domain", "workflow", "task", "version")
        known = {name: getattr(self, name) for name in (*names, "node", "execution_url")}
        block: dict[str, Any] = {name: value for name, value in known.items() if value}
        if not self.is_local:
            block["attempt"] = self.attempt
        if self.shard is not None:
            block["shard"] = self.shard
        return {"is_local": self.is_local, **block}


def current_identity(task: str = "", environ: Mapping[str, str] | None = None) -> TaskIdentity:
    """The identity of the running code, from Flyte's context and the environment of the pod.

    Args:
        task: Name to use outside a pod and for a mapped task, whose registered name holds a hash.
        environ: Environment variables; those of the process if None.
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
        root=environ.get("_F_EE_ROOT", ""),
        workflow=environ.get("FLYTE_INTERNAL_EXECUTION_WORKFLOW", "").rpartition(":")[2],
        task=task if (shard is not None and task) or not own_name else own_name,
        version=(params.task_id.version or "") if params.task_id else "",
        node=_node(environ, execution, attempt, shard, params.output_metadata_prefix or ""),
        attempt=attempt,
        shard=shard,
        execution_url=environ.get("FLYTE_EXECUTION_URL", ""),
        started_at=params.execution_date or datetime.now(timezone.utc),
    )


def _shard(environ: Mapping[str, str]) -> int | None:
    # the first variable holds the name of the second, which depends on the backend
    index = environ.get(environ.get("BATCH_JOB_ARRAY_INDEX_VAR_NAME", ""))
    return (
        None
        if index is None
        else int(index) + int(environ.get("BATCH_JOB_ARRAY_INDEX_OFFSET") or 0)
    )


def _node(
    environ: Mapping[str, str], execution: str, attempt: int, shard: int | None, metadata: str
) -> str:
    # the most reliable source, but only present if the task has link config
    in_url = _NODE_IN_URL.search(environ.get("FLYTE_EXECUTION_URL", ""))
    if in_url:
        return in_url[1]
    host = environ.get("HOSTNAME", "")
    # with hostNetwork or an agent the host is not the pod, and many pods share its name
    if host.startswith(f"{execution}-") and host.endswith(f"-{attempt}"):
        return host.removeprefix(f"{execution}-").removesuffix(f"-{attempt}")
    # the output prefix is unique to the node; without the attempt, all attempts share the name
    where = _ATTEMPT_AT_END.sub("", metadata)
    node = "h" + hashlib.sha256(where.encode()).hexdigest()[:8]
    return node if shard is None else f"{node}-n{shard}"


def check_template(template: str) -> None:
    """Check a run id now that W&B would only reject later, in the pod.

    Raises:
        ConfigError: If a placeholder is unknown, a character is not allowed in a run id, or a
            format is of no use.
    """
    names = [name for name, _ in PLACEHOLDER.findall(template)]
    unknown = [name for name in names if name not in PLACEHOLDERS and not name.startswith(INPUT)]
    if unknown:
        raise ConfigError(
            f"id may use the placeholders {', '.join(PLACEHOLDERS)} and {INPUT}<name>; "
            f"got {{{unknown[0]}}} in {quoted_value(template)}"
        )
    fixed = PLACEHOLDER.sub("", template)
    if not template.strip() or NOT_ALLOWED.search(fixed):
        raise ConfigError(
            "id must be made of letters, digits, '_', '.', '-' and placeholders such as "
            f"{{execution}}; got {quoted_value(template)}"
        )
    check_formats(template)


def is_template(text: str) -> bool:
    """Whether the id has placeholders, so that it differs between executions."""
    return PLACEHOLDER.search(text) is not None


def is_exclusive(template: str | None, identity: TaskIdentity) -> bool:
    """Whether no other process can have the same run id, not even the next attempt of the task.

    Args:
        template: As for `run_id`.
        identity: Identity of the running task.
    """
    if template is None:
        return True
    needed = {"execution", "node", "attempt"} | ({"shard"} if identity.shard is not None else set())
    return not identity.is_local and needed <= {name for name, _ in PLACEHOLDER.findall(template)}


def run_id(
    identity: TaskIdentity,
    template: str | None = None,
    *,
    suffix: str = "",
    inputs: Mapping[str, Any] | None = None,
) -> str | None:
    """The W&B run id of a task.

    Args:
        identity: Identity of the running task.
        template: A fixed id, or one with placeholders (`{date:%Y%m}` formats the date). If None,
            the name of the pod, which is `{execution}-{node}-{attempt}` or its hash if that has
            more than 50 characters; outside a pod the result is None.
        suffix: Appended to the id, to distinguish processes of one task.
        inputs: The task's inputs by name, for `{date}` and `{inputs.name}`.

    Returns:
        At most 64 characters of `[A-Za-z0-9_.-]`; a longer id is cut and ends in a stable hash.
        None if W&B is to choose the id.

    Raises:
        ConfigError: As `id_text`.
    """
    if template is None:
        if identity.is_local:
            return None
        text = pod_name(identity.execution, identity.node, identity.attempt)
    else:
        given = inputs or {}
        text = PLACEHOLDER.sub(lambda found: _value(identity, found, given), template)
    return _fit(text + suffix)


def _value(identity: TaskIdentity, found: re.Match[str], inputs: Mapping[str, Any]) -> str:
    name, form = found[1], found[2] or ""
    if name == "date" or name.startswith(INPUT):
        return id_text(name, form, inputs, identity.started_at)
    if name == "task":
        return identity.task_name
    value = getattr(identity, name)
    return "" if value is None else str(value) or "local"


def _fit(text: str) -> str:
    clean = NOT_ALLOWED.sub("-", text).strip("-") or "run"
    return fitted_name(clean, MAX_ID_LENGTH, of=text)
