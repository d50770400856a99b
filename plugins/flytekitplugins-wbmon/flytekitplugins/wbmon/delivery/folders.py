"""The folders that wandb writes to beside the run's own: another is chosen if one cannot be used.

Artifacts and tables are staged in WANDB_DATA_DIR and cached in WANDB_CACHE_DIR, by default below
the home, and downloaded to WANDB_ARTIFACT_DIR, by default below the working directory. wandb's
service takes its temporary files to TMPDIR and looks for no other place. In a container with a
read-only root, or for a user without a home, none of these may work, and each table and artifact
would fail.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from flytekitplugins.wbmon.errors import StorageError
from flytekitplugins.wbmon.storage.room import (
    absolute_path,
    temporary_folder,
    why_not_writable,
    working_folder,
)

logger = logging.getLogger(__name__)

# what wandb uses if a variable is not set
_DEFAULTS: Mapping[str, tuple[str, str]] = {
    "WANDB_DATA_DIR": ("XDG_DATA_HOME", "~/.local/share"),
    "WANDB_CACHE_DIR": ("XDG_CACHE_HOME", "~/.cache"),
    "WANDB_ARTIFACT_DIR": ("", "."),
}


def use_writable_folders() -> None:
    """Make the environment variables of this process name folders that can be written to."""
    os.environ.update(writable_folders())


@cache
def writable_folders() -> Mapping[str, str]:
    """The environment variables that must change, so that wandb can write wherever it does.

    The first call decides for the whole process. A folder that can be written to stays. What is
    chosen in place of another is logged; so is a machine that has no folder for temporary files.
    """
    try:
        temporary = temporary_folder()
    except StorageError as error:
        logger.warning("W&B: %s", error)
        return {}
    changed: dict[str, str] = {}
    # as wandb's service reads it
    if why_not_writable(Path(os.environ.get("TMPDIR") or "/tmp")):  # noqa: S108
        changed["TMPDIR"] = str(temporary)
    unusable = [name for name in _DEFAULTS if not _is_usable(_folder_of(name))]
    if unusable:
        base = tempfile.mkdtemp(prefix="wandb-folders-", dir=temporary)
        changed |= {name: f"{base}/{name.split('_')[1].lower()}" for name in unusable}
    for name, place in changed.items():
        # the user may not know of a default, but will miss what was asked for
        level = logging.WARNING if os.environ.get(name) else logging.INFO
        logger.log(level, "W&B: %s is %s, as %r cannot be written to",
                   name, place, _folder_of(name))  # fmt: skip
    return changed


@contextmanager
def existing_working_folder() -> Iterator[None]:
    """Go elsewhere for the block, but only if the working directory is one that was deleted.

    wandb asks for it when a run is opened, and raises if it is not there.
    """
    if working_folder() is not None:
        yield
        return
    deleted = os.open(".", os.O_RDONLY)
    os.chdir(temporary_folder())
    try:
        yield
    finally:
        os.fchdir(deleted)
        os.close(deleted)


def _folder_of(name: str) -> str:
    if os.environ.get(name) or name not in _DEFAULTS:
        return os.environ.get(name, "")
    base, default = _DEFAULTS[name]
    return str(Path(os.environ.get(base) or default))


def _is_usable(place: str) -> bool:
    folder = absolute_path(place)
    # it is made when wandb needs it, which the nearest folder above must allow
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return not why_not_writable(folder)
