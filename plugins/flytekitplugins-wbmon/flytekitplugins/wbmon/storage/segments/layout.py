"""Paths of the segments of a log: in `open` while they are written, then in `sealed`."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.storage.location import local_path

SUFFIX = ".jsonl"

State = Literal["open", "sealed", "compacted"]

# of writers that lock their segments; eight in earlier releases
_N_DIGITS = 12
_LONGEST_INSTANCE = 128
_NAME = re.compile(rf"(.+)-[0-9a-f]{{{_N_DIGITS}}}-\d+-\d+{re.escape(SUFFIX)}")
# of a name of a file, less `service=`
_LONGEST_SERVICE = 255 - len("service=")
# separators of paths, and characters with a meaning in glob patterns
_REFUSED = set("/\\*?[]")


def segment_folder(destination: str, state: State, service: str) -> str:
    """The folder of a service's segments: being written, sealed, or compacted and kept."""
    return f"{destination.rstrip('/')}/{state}/{service}"


def require_service(service: Any) -> None:
    """Check that a service's name can be a folder in every store.

    Raises:
        ConfigError: If the name is empty, begins with a dot, has a character that is refused, or is
            longer than 247 bytes.
    """
    is_name = isinstance(service, str) and service[:1] not in ("", ".") and service.isprintable()
    if not is_name or _REFUSED & set(service) or "::" in service:
        raise ConfigError(
            "service must be the name of a folder: printable, without a dot in front, '::' or any "
            f"of {' '.join(sorted(_REFUSED))}; got {service!r}"
        )
    if (n := len(service.encode())) > _LONGEST_SERVICE:
        raise ConfigError(
            f"service must be at most {_LONGEST_SERVICE} bytes, as it is part of the names of "
            f"folders; got {n}"
        )


def unique_instance(instance: str | None = None) -> str:
    """A name that no other writer of segments ever has.

    Host and process id do not suffice: a restarted container has the same ones again. So random
    digits are appended.

    Args:
        instance: Name of this copy of the service; the host's name by default.
    """
    # cut, because a host may be called anything, and this is part of the names of files
    name = (
        _plain(instance or socket.gethostname())
        .encode()[:_LONGEST_INSTANCE]
        .decode(errors="ignore")
    )
    return f"{name}-{uuid4().hex[:_N_DIGITS]}"


def require_instance(instance: str | None) -> None:
    """Check that the name of a copy of the service fits into names of files.

    Raises:
        ConfigError: If it is longer than 128 bytes.
    """
    n = len(_plain(instance or "").encode())
    if n > _LONGEST_INSTANCE:
        raise ConfigError(
            f"instance must be at most {_LONGEST_INSTANCE} bytes, as it is part of the names of "
            f"files; got {n}"
        )


def is_of_this_host(segment: str) -> bool:
    """Whether the writer of a segment ran here, and locked it, as earlier releases did not.

    Args:
        segment: Its file name. That of a writer with an `instance` of its own does not say.
    """
    found = _NAME.fullmatch(segment)
    return found is not None and found[1] == _plain(socket.gethostname())


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)


def local_root(destination: str) -> Path | None:
    """The local folder of a destination; None if the destination is a URL of another store."""
    path = local_path(destination)
    return None if path is None else Path(path)
