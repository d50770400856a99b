"""Paths of the segments of a log: in `open` while they are written, then in `sealed`."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from flytekitplugins.wbmon.errors import ConfigError

SUFFIX = ".jsonl"

State = Literal["open", "sealed", "compacted"]

# of writers that lock their segments; eight in earlier releases
_N_DIGITS = 12
_NAME = re.compile(rf"(.+)-[0-9a-f]{{{_N_DIGITS}}}-\d+-\d+{re.escape(SUFFIX)}")
# separators of paths, and characters with a meaning in glob patterns
_REFUSED = set("/\\*?[]")


def segment_folder(destination: str, state: State, service: str) -> str:
    """The folder of a service's segments: being written, sealed, or compacted and kept."""
    return f"{destination.rstrip('/')}/{state}/{service}"


def require_service(service: Any) -> None:
    """Check that a service's name can be a folder in every store.

    Raises:
        ConfigError: If the name is empty, begins with a dot, or has a character that is refused.
    """
    is_name = isinstance(service, str) and service[:1] not in ("", ".") and service.isprintable()
    if not is_name or _REFUSED & set(service) or "::" in service:
        raise ConfigError(
            "service must be the name of a folder: printable, without a dot in front, '::' or any "
            f"of {' '.join(sorted(_REFUSED))}; got {service!r}"
        )


def unique_instance(instance: str | None = None) -> str:
    """A name that no other writer of segments ever has.

    Host and process id do not suffice: a restarted container has the same ones again. So random
    digits are appended.

    Args:
        instance: Name of this copy of the service; the host's name by default.
    """
    return f"{_plain(instance or socket.gethostname())}-{uuid4().hex[:_N_DIGITS]}"


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
    if destination.startswith("file://"):
        return Path(destination.removeprefix("file://"))
    return None if "://" in destination else Path(destination)
