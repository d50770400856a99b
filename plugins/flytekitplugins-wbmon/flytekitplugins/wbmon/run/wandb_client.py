"""The few calls into wandb that open a run, and with which settings.

A run is written offline, with the log flushed every second: no network call can then block or
raise inside the task, and a killed process loses at most one second.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.runs.wandb_internals import (
    known_settings,
    note_version,
    warn_missing,
)
from flytekitplugins.wbmon.errors import DataError, PublishError
from flytekitplugins.wbmon.run.log_flusher import LogFlusher

if TYPE_CHECKING:
    import wandb

FLUSH_EVERY_S = 1
_FLUSH_SETTING = "x_transaction_log_flush_interval"  # since 0.31

# nothing about the machine, the command line or the code leaves the pod unless the user asks
_LEAN: Mapping[str, Any] = {
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "label_disable": True,
    "silent": True,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
    _FLUSH_SETTING: FLUSH_EVERY_S,
}
# each alone bounds nothing; together they bound most
_BOUNDED: Mapping[str, Any] = {
    "finish_timeout": 10,
    "x_file_stream_retry_max": 3,
    "x_file_stream_retry_wait_max_seconds": 5,
    "x_file_stream_timeout_seconds": 5,
    "x_file_stream_transmit_interval": 2,
    "x_graphql_retry_max": 2,
    "x_graphql_retry_wait_max_seconds": 2,
    "x_graphql_timeout_seconds": 5,
}
# what wandb itself points at the newest global run
_GLOBALS = (
    "config", "log", "summary", "save", "use_artifact", "log_artifact", "define_metric", "alert",
    "watch", "unwatch", "mark_preempting", "log_model", "use_model", "link_model",
)  # fmt: skip


def start_offline_run(arguments: Mapping[str, Any]) -> wandb.Run:
    """A new offline run, whatever else is open in the process.

    Args:
        arguments: Of `wandb.init`; `settings` (a dictionary or `wandb.Settings`) wins over ours.
    """
    import wandb

    given = {name: value for name, value in arguments.items() if value is not None}
    given |= {"mode": "offline", "reinit": "create_new"}
    given["settings"] = _merged_settings(arguments.get("settings"), _LEAN)
    note_version()
    with _without_weave():
        return wandb.init(**given)


def flush_every_second(run: wandb.Run) -> LogFlusher | None:
    """See to it that what an offline run has logged is on disk a second later.

    Returns:
        What does it beside the run; None where wandb does it by a setting, or lets nobody do it,
        which is then said in the log.
    """
    if known_settings({_FLUSH_SETTING: FLUSH_EVERY_S}):
        return None
    try:
        return LogFlusher(run, every_s=FLUSH_EVERY_S)
    except (PublishError, DataError) as error:
        warn_missing(f"what a task logged last is lost if it is killed ({error})")
        return None


def start_online_run(
    arguments: Mapping[str, Any], *, api_key: str, base_url: str, mode: str, timeout_s: float
) -> wandb.Run:
    """A new online run, with every time limit that wandb has; the errors are wandb's.

    Args:
        arguments: Of `wandb.init`.
        api_key: The W&B key; for this run only.
        base_url: URL of the W&B API.
        mode: `online` or `shared`.
        timeout_s: Seconds for the start.
    """
    import wandb

    given = {name: value for name, value in arguments.items() if value is not None}
    given |= {"mode": mode, "reinit": "create_new"}
    defaults = {
        **_LEAN,
        **_BOUNDED,
        "init_timeout": timeout_s,
        "api_key": api_key,
        "base_url": base_url,
    }
    given["settings"] = _merged_settings(arguments.get("settings"), defaults)
    note_version()
    with _without_weave():
        return wandb.init(**given)


def start_silent_run() -> wandb.Run:
    """A run that accepts everything and does nothing."""
    import wandb

    with _without_weave():
        return wandb.init(mode="disabled", settings=wandb.Settings(silent=True))


def global_run() -> wandb.Run | None:
    """What `wandb.run` is now."""
    import wandb

    return wandb.run


def make_global(run: wandb.Run) -> None:
    """Let `wandb.run`, `wandb.log` and their like mean this run."""
    import wandb

    wandb.run = run
    for name in _GLOBALS:
        if hasattr(run, name):
            setattr(wandb, name, getattr(run, name))


def _merged_settings(own: Any, defaults: Mapping[str, Any]) -> wandb.Settings:
    import wandb

    settings = wandb.Settings(**known_settings(defaults))
    if isinstance(own, wandb.Settings):
        settings.update_from_settings(own)
    elif own:
        settings.update_from_dict(dict(own))
    return settings


@contextmanager
def _without_weave() -> Iterator[None]:
    """Keep `wandb.init` from starting Weave, which dials out even for an offline run."""
    name = "WANDB_DISABLE_WEAVE"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
