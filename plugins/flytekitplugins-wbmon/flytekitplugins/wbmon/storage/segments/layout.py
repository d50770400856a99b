"""Where the segments of a log are: below `open` while they are written, then below `sealed`."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Literal
from uuid import uuid4

from flytekitplugins.wbmon.errors import ConfigError

SUFFIX = ".jsonl"

State = Literal["open", "sealed", "compacted"]

# what ends a folder's name, or means something to a shell, a store or a pattern
_REFUSED = set("/\\*?[]")


def segment_folder(destination: str, state: State, service: str) -> str:
    """Where segments of a service are: while they are written, whole, or read and kept."""
    return f"{destination.rstrip('/')}/{state}/{service}"


def require_service(service: str) -> None:
    """Refuse a service that cannot be a folder in every store.

    Raises:
        ConfigError: If the name is empty, begins with a dot, or has letters that no name has.
    """
    is_name = bool(service) and service.isprintable() and not service.startswith(".")
    if not is_name or _REFUSED & set(service) or "::" in service:
        raise ConfigError(
            "service must be the name of a folder: printable, without a dot in front, '::' or any "
            f"of {' '.join(sorted(_REFUSED))}; got {service!r}"
        )


def unique_instance(instance: str | None = None) -> str:
    """A name that no other writer of segments has or will have.

    Not even one in a container that starts again and gives out the same process ids.

    Args:
        instance: Which copy of the service this is; the host's name by default.
    """
    name = instance or socket.gethostname()
    plain = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
    return f"{plain}-{uuid4().hex[:8]}"


def local_root(destination: str) -> Path | None:
    """The folder that a destination names, or None if it is elsewhere."""
    if destination.startswith("file://"):
        return Path(destination.removeprefix("file://"))
    return None if "://" in destination else Path(destination)
