"""The store of a task: where it is, and how it is opened with Flyte's own settings."""

from __future__ import annotations

from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.flyte.filesystem import filesystem_of_task
from flytekitplugins.wbmon.flyte.identity import TaskIdentity


def open_store(url: str) -> OfflineStore:
    """The store of a URL, reached as flytekit reaches it.

    Raises:
        ConfigError: If the URL is none, or the store lacks a setting.
        StorageError: If it cannot be opened.
    """
    return OfflineStore(url, filesystem=filesystem_of_task(url))


def store_url(given: str | None, identity: TaskIdentity) -> str:
    """Where the task keeps what is not delivered.

    Args:
        given: The user's choice.
        identity: What is running.

    Returns:
        The user's choice; else, in a pod, whose disk dies with it, the task's raw output; else
        nothing: on the disk of the user it may stay where it is.
    """
    if given is not None:
        return given.rstrip("/")
    if identity.is_local:
        return ""
    from flytekit import current_context

    return str(current_context().raw_output_prefix).rstrip("/")
