"""The memory that tasks of this package request if their user names none.

Flyte gives a container 200 MiB by default, which is less than any pod with a W&B run takes.
"""

from __future__ import annotations

from typing import Any

from flytekit.models.task import Container, Resources

DEFAULT = "1Gi"

_MEMORY = Resources.ResourceName.MEMORY


def container_with_memory(container: Container | None) -> Container | None:
    """The container of a task, with the default request unless it has a request or a limit.

    Args:
        container: As flytekit registers it, changed in place; None if the task has a pod template.
    """
    if container is None or container.resources is None:
        return container
    asked = container.resources
    if all(entry.name != _MEMORY for entry in [*asked.requests, *asked.limits]):
        asked.requests.append(Resources.ResourceEntry(_MEMORY, DEFAULT))
    return container


def pod_with_memory(pod: Any, primary: str | None) -> Any:
    """The pod of a task, whose primary container gets the default request likewise.

    Args:
        pod: As flytekit registers it, changed in place; None if the task has no pod template.
        primary: Name of the primary container.
    """
    spec = (pod.pod_spec or {}) if pod is not None else {}
    # newer releases of Kubernetes know resources of the whole pod, too
    if _names_memory(spec):
        return pod
    for container in spec.get("containers", []):
        if container["name"] == primary and not _names_memory(container):
            asked = dict(container.get("resources") or {})
            requests = {**(asked.get("requests") or {}), "memory": DEFAULT}
            container["resources"] = {**asked, "requests": requests}
    return pod


def _names_memory(spec: dict[str, Any]) -> bool:
    asked = spec.get("resources") or {}
    return any("memory" in (asked.get(kind) or {}) for kind in ("requests", "limits"))


def primary_container(task: Any) -> str | None:
    """Name of the primary container of a task's pod template; None without a template."""
    return getattr(task.pod_template, "primary_container_name", None)


def request_memory(task: Any) -> Any:
    """Give a function task the default request, and return it.

    What is given when it is registered, such as `--resource-requests`, comes first, so it is done
    at registration.
    """
    kind = type(task)
    task.get_container = lambda settings: container_with_memory(kind.get_container(task, settings))
    task.get_k8s_pod = lambda settings: pod_with_memory(
        kind.get_k8s_pod(task, settings), primary_container(task)
    )
    return task


def request_again(copied: Any) -> None:
    """Let a copied task register a container of its own, and not that of the original."""
    if vars(copied).pop("get_container", None) is not None:
        request_memory(copied)
