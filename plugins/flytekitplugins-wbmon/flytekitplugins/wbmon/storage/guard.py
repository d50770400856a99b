"""Translates the failures of stores into errors that say what to do, and retries transient ones.

The libraries behind fsspec raise their own exceptions (of boto3, Google, Azure or aiohttp), which
name neither the URL nor a remedy. Only this module translates them into `StorageError`.

The libraries of S3, Google Cloud Storage and Azure retry transient failures themselves (timeouts,
broken connections, status 429, 500 and 503, and S3's SlowDown), three times or more with growing
pauses. Other stores do not, so this module repeats those of their calls that may be repeated.
"""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import (
    ConfigError,
    MissingExtraError,
    StorageError,
    WbmonError,
)
from flytekitplugins.wbmon.storage.location import fault_of, schemes_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})
_PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "adlfs"),
}
_READS = {"cat_file", "exists", "find", "glob", "info", "isdir", "isfile", "ls", "modified", "open"}
_REPEATABLE = _READS | {"cp_file", "get_file", "makedirs", "pipe_file", "put_file"}
_ONCE = {"mv", "rm", "rm_file"}
# seconds before the second and the third attempt
_PAUSES_S = (0.2, 1.0)
_SHOWN = 300
_PASSING_STATUS = (429, 500, 502, 503, 504)

# errors that callers handle by their type, and programming errors, which no store caused
_SPEAKING = (
    FileExistsError, IsADirectoryError, NotADirectoryError,
    AttributeError, LookupError, NotImplementedError, TypeError, ValueError, WbmonError,
)  # fmt: skip
_NO_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "DefaultCredentialsError",
    "CredentialUnavailableError",
)
_CURES = {
    "s3fs": "set FLYTE_AWS_ACCESS_KEY_ID and FLYTE_AWS_SECRET_ACCESS_KEY (and FLYTE_AWS_ENDPOINT "
    "for a store other than Amazon's), or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the "
    "process a profile or a role",
    "gcsfs": "set GOOGLE_APPLICATION_CREDENTIALS, or give the process a service account",
    "adlfs": "set FLYTE_AZURE_STORAGE_ACCOUNT_NAME and FLYTE_AZURE_STORAGE_ACCOUNT_KEY, or "
    "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or give the process an identity",
}


class GuardedFileSystem:
    """An fsspec file system whose failures are raised as `StorageError`.

    Args:
        filesystem: The file system that does the work.
    """

    def __init__(self, filesystem: AbstractFileSystem) -> None:
        self._filesystem = filesystem

    def __getattr__(self, name: str) -> Any:
        if name == "_filesystem":  # while it is copied there is none yet
            raise AttributeError(name)
        found = getattr(self._filesystem, name)
        if name not in _REPEATABLE and name not in _ONCE:
            return found

        @functools.wraps(found)
        def call(*args: Any, **kwargs: Any) -> Any:
            # further arguments of a write are conditions: repeated, it would meet its own result
            repeats = name in _REPEATABLE and not (name == "pipe_file" and kwargs)
            repeats = repeats and not is_object_store(self._filesystem)
            place = args[1:] if name == "put_file" else args
            with _translated_errors(self._filesystem, place):
                result = _repeated(found, args, kwargs) if repeats else found(*args, **kwargs)
            return _GuardedFile(result, self._filesystem, place) if name == "open" else result

        return call


class _GuardedFile:
    """An open file with the same translation of errors; a write may fail as late as on closing."""

    def __init__(self, file: Any, filesystem: AbstractFileSystem, place: tuple[Any, ...]) -> None:
        self._file, self._filesystem, self._place = file, filesystem, place

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._file, name)
        if not callable(found):
            return found

        @functools.wraps(found)
        def call(*args: Any, **kwargs: Any) -> Any:
            with _translated_errors(self._filesystem, self._place):
                return found(*args, **kwargs)

        return call

    def __enter__(self) -> _GuardedFile:
        self._file.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        with _translated_errors(self._filesystem, self._place):
            self._file.__exit__(*error)

    def __iter__(self) -> Iterator[Any]:
        with _translated_errors(self._filesystem, self._place):
            yield from self._file


def is_object_store(filesystem: AbstractFileSystem) -> bool:
    """Whether there are no folders: a file appears whole, under its own name."""
    return not OBJECT_STORES.isdisjoint(protocols(filesystem))


def is_disk(filesystem: AbstractFileSystem) -> bool:
    """Whether it is the local disk."""
    return "file" in protocols(filesystem)


def protocols(filesystem: AbstractFileSystem) -> tuple[str, ...]:
    """The names that a file system has in URLs."""
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


@contextmanager
def opening(url: str) -> Iterator[None]:
    """Translate the errors that occur while a file system is made.

    Raises:
        ConfigError: If fsspec does not know the protocol, or the store lacks a setting.
        MissingExtraError: If the package that speaks the protocol is not installed.
        StorageError: If the store cannot be opened.
    """
    require_known(url)
    shown, protocol = without_secrets(url), _store_of(url)
    try:
        yield
    except WbmonError:
        raise
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        cure = f"run: pip install {package}" if package else "install what it names"
        raise MissingExtraError(
            f"{shown} needs a package that cannot be imported ({error}); {cure}"
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"a place must be a path or a URL that fsspec can open, got {shown}: {_reason(error)}"
        ) from _shareable(error)
    except Exception as error:  # noqa: BLE001 - every file system has errors of its own
        raise _storage_error(error, shown, protocol, "") from _shareable(error)


def require_known(location: str) -> None:
    """Check that a location is a path, or a URL with a scheme that fsspec knows.

    Raises:
        ConfigError: If fsspec does not know the scheme; whether its package is installed is found
            only when the file system is made.
    """
    if fault := fault_of(location):
        raise ConfigError(
            "a place must be a path or a URL that fsspec can open, got "
            f"{without_secrets(location)}: {fault}"
        )


def refuse_keys_in(url: str) -> None:
    """Refuse keys where an object store takes the name of a bucket, and would tell it to others.

    Raises:
        ConfigError: If there are any.
    """
    protocol, rest = _store_of(url), url.rpartition("::")[2].partition("://")[2]
    if protocol in OBJECT_STORES and ":" in rest.partition("/")[0].rpartition("@")[0]:
        package = _PACKAGES.get(protocol, "")
        raise ConfigError(
            f"the URL of a bucket must not hold keys, got some in {without_secrets(url)}; "
            f"{_CURES.get(package, 'give the process credentials for it')}"
        )


def without_secrets(text: str) -> str:
    """A text whose URLs have lost the user and password, and all behind `?`, where tokens are."""
    # a password may hold `@` and `/`; digits behind the colon are a port
    bare = re.sub(r"(\w+://)[^/\s@:'\"]*:(?!\d+(?:[/?#\s]|$))[^\s'\"]*@", r"\1", text)
    bare = re.sub(r"(\w+://)[^/\s@'\"]*@", r"\1", bare)
    return re.sub(r"(\w+://[^\s?'\"]*)\?[^\s'\"]*", r"\1", bare)


def _store_of(url: str) -> str:
    """The scheme of the store, which is the last of a chain."""
    return schemes_of(url)[-1] if schemes_of(url) else "file"


@contextmanager
def _translated_errors(filesystem: AbstractFileSystem, args: tuple[Any, ...]) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        if isinstance(error.__cause__, Exception) and _is_passing(error.__cause__):
            # so fsspec calls a web server that does not answer
            place, protocol = _place(filesystem, args), protocols(filesystem)[0]
            raise _storage_error(error.__cause__, place, protocol, "") from None
        if is_disk(filesystem):
            raise
        place = _place(filesystem, args)
        # the path as the store got it has no protocol by which its token could be known
        text = str(error).replace(str(args[0]), place) if args and args[0] else str(error)
        cause = _shareable(error) if place in str(error) or text == str(error) else None
        bucket = ", and so must its bucket" if is_object_store(filesystem) else ""
        raise FileNotFoundError(f"{place} must exist{bucket}: {text}") from cause
    except _SPEAKING:
        raise
    except Exception as error:  # noqa: BLE001 - every file system has errors of its own
        place, protocol = _place(filesystem, args), protocols(filesystem)[0]
        raise _storage_error(error, place, protocol, _tried(filesystem)) from _shareable(error)


def _repeated(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    for pause in _PAUSES_S:
        try:
            return call(*args, **kwargs)
        except Exception as error:
            if not _is_passing(error):
                raise
        time.sleep(pause)
    return call(*args, **kwargs)


def _is_passing(error: Exception) -> bool:
    if isinstance(error, (TimeoutError, asyncio.TimeoutError, ConnectionError)):
        return True
    names = {each.__name__ for each in type(error).__mro__}
    return "ClientConnectionError" in names or getattr(error, "status", None) in _PASSING_STATUS


def _storage_error(error: Exception, place: str, protocol: str, tried: str) -> StorageError:
    kind, package = type(error).__name__, _PACKAGES.get(protocol, "")
    if kind in _NO_CREDENTIALS:
        cure = _CURES.get(package, "give the process credentials for it")
    elif isinstance(error, PermissionError):
        cure = "allow who runs this to list, read and write there, or run it as somebody who may"
    else:
        cure = "see that the store is up and can be reached from here, then try again"
    return StorageError(
        f"{place} must be within reach, got {kind}: {_reason(error)}{tried}; {cure}"
    )


def _reason(error: Exception) -> str:
    lines = without_secrets(str(error)).splitlines()
    return lines[0][:_SHOWN] if lines else "no reason given"


def _place(filesystem: AbstractFileSystem, args: tuple[Any, ...]) -> str:
    if not args:
        return "/".join(protocols(filesystem)[:1])
    path = str(args[0])
    is_whole = is_disk(filesystem) or bool(schemes_of(path))
    return without_secrets(path if is_whole else filesystem.unstrip_protocol(path))


def _tried(filesystem: Any) -> str:
    """The S3 endpoint and the source of the keys that were used, never the keys themselves."""
    if "s3" not in protocols(filesystem):
        return ""
    endpoint = (getattr(filesystem, "client_kwargs", None) or {}).get("endpoint_url")
    where = f"at {without_secrets(endpoint)} " if endpoint else ""
    keys = (
        "the access key that was given (by FLYTE_AWS_ACCESS_KEY_ID or flytekit's config)"
        if getattr(filesystem, "key", None)
        else "what boto3 finds (AWS_… variables, profiles, roles), as no FLYTE_AWS_ACCESS_KEY_ID "
        "is set"
    )
    return f" (tried {where}with {keys})"


def _shareable(error: Exception) -> Exception | None:
    """The error as a cause, unless a trace of it would show a token of a URL."""
    return error if str(error) == without_secrets(str(error)) else None
