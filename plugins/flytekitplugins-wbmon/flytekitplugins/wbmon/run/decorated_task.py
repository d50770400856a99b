"""Applies `wandb_init` to a task, and tells Flyte its secret and its link to W&B."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from flytekitplugins.wbmon.flyte import internals
from flytekitplugins.wbmon.flyte.identity import TaskIdentity, is_template, run_id
from flytekitplugins.wbmon.flyte.secrets import with_secret
from flytekitplugins.wbmon.flyte.termination import exit_on_sigterm
from flytekitplugins.wbmon.run.lifecycle import end_live_runs
from flytekitplugins.wbmon.run.settings import RunSettings

Track = Callable[[Callable[..., Any], str], Callable[..., Any]]
Resolver = Callable[[Any, RunSettings], Any]

LINK_TYPE = "link_type"
_BY_POD, _BY_ID = "wandb-execution-id", "wandb-custom-id"
# no cluster has a template for it, and so shows no link; but with any type at all Flyte tells the
# pod the URL of the execution, from which the run's identity and its notes are made
_NO_LINK = "wandb-no-link"
_TRACKING = "_wandb_init"


def track_task(task: Any, settings: RunSettings, track: Track, resolver: Resolver) -> Any:
    """Make the task's body run inside a W&B run, and request what this needs from Flyte.

    The task is changed in place and returned, because Flyte finds it in the pod by the name of the
    variable that it was assigned to.

    Args:
        task: A function task, a node, or a mapped task.
        settings: The arguments of `wandb_init`.
        track: Wraps a function, given the function and the full name of the task.
        resolver: Returns the task resolver for a mapped task, given the untracked task and the
            settings.

    Returns:
        The same task.
    """
    mapped = internals.mapped_task(task)
    if mapped is not None:
        internals.replace_mapped(
            task,
            resolver(mapped, settings),
            lambda one: track_task(one, settings, track, resolver),
        )
        # no link: a mapped task returns the config of its inner task, which has the link already
        request_from_flyte(task, settings, link=False)
        return task
    internals.wrap_body(task, track)
    setattr(task, _TRACKING, settings)
    request_from_flyte(task, settings)
    return task


def track_made_task(task: Any, settings: RunSettings) -> None:
    """Apply the settings to a task that flytekit made from an already decorated function."""
    # it may be called several times for one task: whenever the function's attributes are read
    if tracking_of(task) is None:
        setattr(task, _TRACKING, settings)
        request_from_flyte(task, settings)


def tracking_of(task: object) -> RunSettings | None:
    """The settings that a task is tracked with; None if it is not tracked."""
    return getattr(task, _TRACKING, None)


def request_from_flyte(task: Any, settings: RunSettings, *, link: bool = True) -> None:
    """Add the secret to the task's secret requests and the W&B link to its config.

    Args:
        task: The task, changed in place.
        settings: The arguments of `wandb_init`.
        link: Whether to add the link.
    """
    # switched off: the task must not request a secret that the cluster may not have
    if not settings.enabled:
        return
    internals.set_security_context(task, with_secret(task.security_context, settings.secret))
    # at registration, not now: the task's own config may depend on the serialization settings
    if link:
        internals.wrap_config(task, lambda own: functools.partial(_config_with_link, own, settings))
    if inspect.iscoroutinefunction(getattr(task, "task_function", None)):
        internals.wrap_execution(task, lambda own: functools.partial(_execute_async, own))


def _config_with_link(
    own_config: Callable[[Any], dict[str, str] | None], settings: RunSettings, serialization: Any
) -> dict[str, str]:
    config = dict(own_config(serialization) or {})
    # other plugins add link types too, as one text with commas
    own_types = [name for name in config.get(LINK_TYPE, "").split(",") if name]
    link = {
        "project": settings.resolved_project,
        "entity": settings.resolved_entity,
        "host": settings.resolved_host,
    }
    ours = _link_type(settings)
    if ours == _BY_ID:  # as it is in W&B: one that is too long is cut
        link["id"] = run_id(TaskIdentity(), settings.id)
    config |= {name: value for name, value in link.items() if value}
    config[LINK_TYPE] = ",".join(dict.fromkeys([*own_types, ours]))
    return config


def _link_type(settings: RunSettings) -> str:
    """How the Flyte console links to the run, which it can only by a fixed id or the pod's name."""
    if settings.rank_scope != "global" or is_template(settings.id or ""):
        return _NO_LINK
    return _BY_POD if settings.id is None else _BY_ID


def _execute_async(own_execute: Callable[..., Any], **inputs: Any) -> Any:
    """Run an async task, and end its runs on SIGTERM.

    flytekit runs the coroutine outside the main thread, where Python runs no signal handlers.
    """
    with exit_on_sigterm(before=end_live_runs):
        return own_execute(**inputs)
