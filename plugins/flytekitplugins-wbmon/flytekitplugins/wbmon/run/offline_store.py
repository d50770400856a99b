"""The offline store of a task: its URL, and how to open it with Flyte's storage settings."""

from __future__ import annotations

from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.flyte.filesystem import filesystem_of_task
from flytekitplugins.wbmon.flyte.identity import TaskIdentity
from flytekitplugins.wbmon.storage.guard import require_known
from flytekitplugins.wbmon.storage.location import schemes_of
from flytekitplugins.wbmon.storage.room import absolute_path


def open_store(url: str) -> OfflineStore:
    """Open the offline store at a URL with flytekit's storage settings.

    Raises:
        ConfigError: If the text is not a valid URL, or a setting of the store is missing.
        StorageError: If the store cannot be opened.
    """
    return OfflineStore(url, filesystem=filesystem_of_task(url))


def store_url(given: str | None, identity: TaskIdentity) -> str:
    """The URL of the store for data that could not be delivered.

    Args:
        given: The URL that the user chose; None for the default.
        identity: Identity of the running task.

    Returns:
        `given` if it is set. Otherwise the task's raw output prefix in a pod, because the disk of a
        pod is deleted with it, and an empty text outside a pod, where data can stay on the disk.

    Raises:
        ConfigError: If it is a URL of a scheme that fsspec does not know.
    """
    if given is not None:
        require_known(given)
        # an URL stays as it is
        is_path = bool(given) and not schemes_of(given)
        return str(absolute_path(given) if is_path else given).rstrip("/")
    if identity.is_local:
        return ""
    from flytekit import current_context

    return str(current_context().raw_output_prefix).rstrip("/")
