"""Refuses a path on the disk of one pod where other pods, or those of the next night, need it.

A path without a scheme is one file to all tasks that run on one machine. In a cluster each pod has
a disk of its own, which is deleted with it: a state would be new every night, a log empty, and
nothing would fail. Whoever writes `file://` says that all pods mount the same disk.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte import internals
from flytekitplugins.wbmon.flyte.filesystem import CHAIN
from flytekitplugins.wbmon.storage.guard import without_secrets
from flytekitplugins.wbmon.storage.location import fault_of, is_chain, local_path, schemes_of

_NOTED = "_wbmon_shared_urls"

Urls = Mapping[str, Any]
"""Paths or URLs by the names of the arguments that they were given as."""


def require_shared(owner: str, urls: Urls) -> None:
    """Check that every pod of a cluster can see the files; empty texts and None are left out.

    Args:
        owner: Who needs the files, such as `wandb_init of 'payments.score'`.
        urls: The paths or URLs.

    Raises:
        ConfigError: If one is a path without a scheme, `file://` with a relative path, in the
            memory of one process, a chain of file systems, or of a scheme that fsspec does not
            know.
    """
    for name, url in urls.items():
        text = os.fspath(url or "")
        if text and (fault := _fault_of(text)):
            raise ConfigError(
                f"{owner} must have {name} where all pods see it, got {without_secrets(text)!r}, "
                f"{fault}"
            )


def require_shared_in_pod(owner: str, urls: Urls) -> None:
    """The same in a pod; elsewhere, where all tasks have one disk, nothing is checked."""
    running = internals.running_task()
    if running is not None and not running.is_local:
        require_shared(owner, urls)


def require_shared_when_registered(task: Any, owner: str, urls: Urls) -> None:
    """The same when a task is compiled for a cluster, by whatever command."""
    # asked for more than once: flytekit reads the attributes of a decorated function several times
    noted: frozenset[str] = getattr(task, _NOTED, frozenset())
    if owner not in noted:
        setattr(task, _NOTED, noted | {owner})
        internals.wrap_config(
            task, lambda own: functools.partial(_checked_config, own, owner, urls)
        )


def _checked_config(
    own_config: Callable[[Any], dict[str, str] | None], owner: str, urls: Urls, serialization: Any
) -> dict[str, str] | None:
    require_shared(owner, urls)
    return own_config(serialization)


def _fault_of(url: str) -> str:
    if fault := fault_of(url):
        return f"but {fault}"
    if is_chain(url):
        return CHAIN
    path = local_path(url)
    is_own = not schemes_of(url) or (path is not None and not path.startswith("/"))
    if not is_own and schemes_of(url) != ("memory",):
        return ""
    below = without_secrets(url).rpartition("://")[2].lstrip("~./")
    return (
        "which is on the disk or in the memory of one pod and is lost with it; give a URL such as "
        f"'s3://bucket/{below}', or, if all pods mount the same disk, 'file://' with its absolute "
        "path"
    )
