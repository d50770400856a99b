"""Opens any path or fsspec URL, with the settings of the environment; everything else uses this.

Flyte configures S3 and Azure in its pods by environment variables of its own, such as
`FLYTE_AWS_ENDPOINT`, which boto3 and the Azure library do not know. This module reads them as
flytekit does, so that it reaches the same stores as flytekit. The precedence is flytekit's too: a
`FLYTE_…` variable that is set and not empty takes precedence over the same setting in `AWS_…`,
`AZURE_…`, a profile or a role. All other settings are left to the library of the store.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from flytekitplugins.wbmon.storage.guard import (
    GuardedFileSystem,
    is_object_store,
    opening,
    refuse_keys_in,
)
from flytekitplugins.wbmon.storage.location import is_local, schemes_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_S3 = ("s3", "s3a")
_AZURE = ("abfs", "abfss", "az")
_AZURE_VARIABLES = {
    "account_name": "FLYTE_AZURE_STORAGE_ACCOUNT_NAME",
    "account_key": "FLYTE_AZURE_STORAGE_ACCOUNT_KEY",
    "client_id": "FLYTE_AZURE_CLIENT_ID",
    "client_secret": "FLYTE_AZURE_CLIENT_SECRET",
    "tenant_id": "FLYTE_AZURE_TENANT_ID",
}


def open_filesystem(
    url: str | os.PathLike[str], *, filesystem: AbstractFileSystem | None = None
) -> tuple[AbstractFileSystem, str]:
    """The file system of a URL, and the path within it.

    It has the methods of fsspec. `FileNotFoundError` and `FileExistsError` are raised unchanged;
    any other failure of the store is raised as a `StorageError` that names the URL and a remedy.
    Folders on the local disk are created when a file is written into them.

    Args:
        url: A local path (relative, absolute or with `~`; all other characters are literal), or any
            URL that fsspec supports: a text that begins with a scheme, in small letters, and `://`.
        filesystem: A file system with settings of the caller's, used in place of a new one. Whether
            it suits the URL is not checked.

    Returns:
        The file system, and the path without protocol and without a slash at the end.

    Raises:
        ConfigError: If fsspec does not know the protocol, or the store lacks a setting.
        MissingExtraError: If the package that speaks the protocol is not installed.
        StorageError: If the store cannot be opened.
    """
    text = os.fspath(url)
    refuse_keys_in(text)
    if filesystem is None:
        with opening(text):
            filesystem, path = _connect(text)
    else:
        path = filesystem._strip_protocol(text)  # noqa: SLF001 - fsspec has no public name
    if not isinstance(filesystem, GuardedFileSystem):
        filesystem = cast("AbstractFileSystem", GuardedFileSystem(filesystem))
    return filesystem, path.rstrip("/") or path


def make_parent(filesystem: AbstractFileSystem, path: str) -> None:
    """Create the folder of a file, where the store has folders.

    An object store has none, and asking for one needs permissions that the caller may lack.
    """
    if not is_object_store(filesystem):
        filesystem.makedirs(path.rpartition("/")[0] or "/", exist_ok=True)


def write_file(filesystem: AbstractFileSystem, path: str, data: bytes) -> None:
    """Write a small file, and create its folder where the store has folders."""
    make_parent(filesystem, path)
    filesystem.pipe_file(path, data)


def move_file(filesystem: AbstractFileSystem, path: str, target: str) -> None:
    """Move a file; its new folder must exist, where the store has folders."""
    if is_object_store(filesystem):
        # the same as fsspec's `mv`, which would however expand names with `*`, `?` or `[`
        filesystem.cp_file(path, target)
        filesystem.rm_file(path)
    else:
        filesystem.mv(path, target)


def storage_options(protocol: str) -> dict[str, Any]:
    """The settings in flytekit's variables, as arguments of the fsspec file system."""
    if protocol in _S3:
        return _s3_options()
    if protocol in _AZURE:
        return _azure_options()
    return {}


def _connect(url: str) -> tuple[AbstractFileSystem, str]:
    import fsspec

    if is_local(url):
        # not `url_to_fs`, which takes "::" in a file name for a chain of file systems
        files = fsspec.filesystem("file", auto_mkdir=True)
        return files, str(files._strip_protocol(url))  # noqa: SLF001 - fsspec has no public name
    schemes = schemes_of(url)
    found: tuple[AbstractFileSystem, str] = fsspec.url_to_fs(
        url, **{scheme: options for scheme in schemes if (options := storage_options(scheme))}
    )
    return found


def _s3_options() -> dict[str, Any]:
    named = {"key": "FLYTE_AWS_ACCESS_KEY_ID", "secret": "FLYTE_AWS_SECRET_ACCESS_KEY"}
    options: dict[str, Any] = _given(named)
    if endpoint := os.environ.get("FLYTE_AWS_ENDPOINT"):
        options["client_kwargs"] = {"endpoint_url": endpoint}
    if os.environ.get("FLYTE_AWS_ADDRESSING_STYLE"):
        # as in flytekit: any value of the variable means the virtual-hosted style
        options["config_kwargs"] = {"s3": {"addressing_style": "virtual"}}
    return options


def _azure_options() -> dict[str, Any]:
    options = _given(_AZURE_VARIABLES)
    # without this, adlfs may log in anonymously although an account is given
    return {**options, "anon": False} if options else {}


def _given(variables: dict[str, str]) -> dict[str, Any]:
    return {name: value for name, each in variables.items() if (value := os.environ.get(each))}
