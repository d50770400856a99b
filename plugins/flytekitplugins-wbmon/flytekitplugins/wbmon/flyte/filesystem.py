"""Storage as the running task reaches it: with flytekit's data config, wherever that was set.

A task's file access may know a store by a config file or by what a caller gave it; the library
below, which does not know flytekit, sees only the environment. So a node opens its file systems
here and hands them down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flytekit import FlyteContextManager
from fsspec.utils import get_protocol

from flytekitplugins.wbmon.storage.filesystem import open_filesystem
from flytekitplugins.wbmon.storage.guard import opening

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# what flytekit has settings for, by the names that it does not know
_ALIASES = {"s3a": "s3", "az": "abfs"}


def filesystem_of_task(url: str) -> AbstractFileSystem:
    """The file system of a path or URL, with the settings of the current file access.

    Raises:
        ConfigError: If fsspec does not know the protocol, or the store lacks a setting.
        MissingExtraError: If the package that speaks the protocol is not installed.
        StorageError: If the store cannot be opened.
    """
    access = FlyteContextManager.current_context().file_access
    protocol = get_protocol(url)
    with opening(url):
        files = access.get_filesystem(_ALIASES.get(protocol, protocol), path=url)
    return open_filesystem(url, filesystem=files)[0]
