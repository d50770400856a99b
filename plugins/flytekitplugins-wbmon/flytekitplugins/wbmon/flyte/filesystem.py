"""Opens file systems with the storage settings of the running task.

flytekit may have its storage settings from a config file or from its caller. The modules below
`flyte` do not import flytekit and would see only environment variables. So nodes open their file
systems here and pass them down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flytekit import FlyteContextManager
from fsspec.utils import get_protocol

from flytekitplugins.wbmon.storage.filesystem import open_filesystem
from flytekitplugins.wbmon.storage.guard import opening

if TYPE_CHECKING:
    from flytekit.core.data_persistence import FileAccessProvider
    from fsspec import AbstractFileSystem

# other names of protocols for which flytekit has settings, but only under these names
_ALIASES = {"s3a": "s3", "az": "abfs"}


def filesystem_of_task(url: str) -> AbstractFileSystem:
    """The file system of a path or URL, with the settings of flytekit's current file access.

    Raises:
        ConfigError: If fsspec does not know the protocol, or a setting of the store is missing.
        MissingExtraError: If the package for the protocol is not installed.
        StorageError: If the store cannot be opened.
    """
    # looked up in each call: flytekit replaces the file access when a task starts
    return filesystem_of(FlyteContextManager.current_context().file_access, url)


def filesystem_of(access: FileAccessProvider, url: str) -> AbstractFileSystem:
    """The file system of a path or URL, with the settings of a file access; raises the same."""
    protocol = get_protocol(url)
    with opening(url):
        files = access.get_filesystem(_ALIASES.get(protocol, protocol), path=url)
    return open_filesystem(url, filesystem=files)[0]
