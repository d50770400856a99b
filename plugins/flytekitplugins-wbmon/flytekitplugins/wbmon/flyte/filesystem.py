"""Opens file systems with the storage settings of the running task.

flytekit may have its storage settings from a config file or from its caller. The modules below
`flyte` do not import flytekit and would see only environment variables. So nodes open their file
systems here and pass them down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flytekit import FlyteContextManager

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.storage.filesystem import open_filesystem
from flytekitplugins.wbmon.storage.guard import opening, require_known, without_secrets
from flytekitplugins.wbmon.storage.location import is_chain, schemes_of

if TYPE_CHECKING:
    from flytekit.core.data_persistence import FileAccessProvider
    from fsspec import AbstractFileSystem

CHAIN = (
    "which is a chain of file systems, for which flytekit has no settings; give the last URL of it"
)
"""Why a node cannot use a chain, and what to do; the end of a message."""

# other names of protocols for which flytekit has settings, but only under these names
_ALIASES = {"s3a": "s3", "az": "abfs"}


def filesystem_of_task(url: str) -> AbstractFileSystem:
    """The file system of a path or URL, with the settings of flytekit's current file access.

    Raises:
        ConfigError: If fsspec does not know the scheme, the URL is a chain of file systems, or a
            setting of the store is missing.
        MissingExtraError: If the package for the protocol is not installed.
        StorageError: If the store cannot be opened.
    """
    # looked up in each call: flytekit replaces the file access when a task starts
    return filesystem_of(FlyteContextManager.current_context().file_access, url)


def require_openable(url: str) -> None:
    """Check that a task can open a path or URL, as far as that is known without its store.

    Raises:
        ConfigError: If fsspec does not know the scheme, or the URL is a chain of file systems.
    """
    require_known(url)
    if is_chain(url):
        raise ConfigError(f"a place of a task must be one URL, got {without_secrets(url)}, {CHAIN}")


def filesystem_of(access: FileAccessProvider, url: str) -> AbstractFileSystem:
    """The file system of a path or URL, with the settings of a file access; raises the same."""
    require_openable(url)
    protocol = next(iter(schemes_of(url)), "file")
    with opening(url):
        files = access.get_filesystem(_ALIASES.get(protocol, protocol), path=url)
    return open_filesystem(url, filesystem=files)[0]
