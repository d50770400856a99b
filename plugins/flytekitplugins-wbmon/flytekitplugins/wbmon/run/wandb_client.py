"""The calls into wandb that open a run, and the settings they use.

By default a run is written offline and its log is flushed every second. No network call can then
block the task or raise inside it, and a killed process loses at most one second of data.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.folders import existing_working_folder, use_writable_folders
from flytekitplugins.wbmon.delivery.runs.wandb_environment import only_usable_variables
from flytekitplugins.wbmon.delivery.runs.wandb_internals import (
    known_settings,
    note_version,
    warn_missing,
)
from flytekitplugins.wbmon.errors import DataError, PublishError
from flytekitplugins.wbmon.run.log_flusher import LogFlusher

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)

# wandb's own interval is 15 s: a task that is killed sooner loses everything
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
# `finish_timeout` starts only after pending alerts and rows are sent, so their retries need limits
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
# the arguments of `wandb.init` that are plain text, checked before
_PLAIN = frozenset(
    {
        "config", "dir", "entity", "group", "id", "job_type", "mode", "name", "notes", "project",
        "reinit", "tags",
    }
)  # fmt: skip
# the functions of the module `wandb` that wandb itself binds to the global run
_GLOBALS = (
    "config", "log", "summary", "save", "use_artifact", "log_artifact", "define_metric", "alert",
    "watch", "unwatch", "mark_preempting", "log_model", "use_model", "link_model",
)  # fmt: skip


def start_offline_run(arguments: Mapping[str, Any]) -> wandb.Run:
    """Open a new offline run, independent of other open runs of the process.

    Args:
        arguments: The arguments of `wandb.init`. Its `settings` (a dictionary or `wandb.Settings`)
            take precedence over the settings of this module.
    """
    use_writable_folders()
    # by default `wandb.init` returns the run that is already open, whatever the arguments are
    given = {name: value for name, value in arguments.items() if value is not None}
    given |= {"mode": "offline", "reinit": "create_new"}
    note_version()
    try:
        return _init(given, _LEAN)
    except Exception as error:
        # what the task logs matters more than a setting that wandb does not know
        plain = {name: value for name, value in given.items() if name in _PLAIN}
        if not isinstance(plain.get("config"), Mapping):
            plain.pop("config", None)
        left_out = [name for name in given if name not in plain]
        if not left_out:
            raise
        # not the message, which quotes the values
        logger.warning(
            "W&B: wandb.init raised %s; the run is opened without %s",
            type(error).__name__, ", ".join(left_out),
        )  # fmt: skip
        return _init(plain, _LEAN)


def _init(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> wandb.Run:
    import wandb

    first, later = _split_config(given.get("config"))
    global_run()
    with _fit_environment():
        settings = _merged_settings(given.get("settings"), defaults)
        run = wandb.init(**{**given, "config": first, "settings": settings})
    for name, value in later.items():
        _add_entry(run, name, value)
    return run


def _add_entry(run: wandb.Run, name: object, value: Any) -> None:
    try:
        # before wandb logs the entry: half of a surrogate pair can be written nowhere
        f"{name}{value}".encode()
        run.config[str(name)] = value
    except Exception as error:  # noqa: BLE001 - wandb raises many kinds
        logger.warning("W&B: config entry %r is left out (%s)", name, type(error).__name__)


def _split_config(config: Any) -> tuple[Any, Mapping[Any, Any]]:
    """What `wandb.init` is given of a config, and the entries that it might refuse.

    One that it refuses would cost the run, and its id: wandb calls that in use from then on.
    """
    if not isinstance(config, Mapping):
        return config, {}
    later = {name: value for name, value in config.items() if not _is_json(name, value)}
    return {name: value for name, value in config.items() if name not in later}, later


def _is_json(name: Any, value: Any) -> bool:
    try:
        json.dumps({name: value}, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return isinstance(name, str)


def flush_every_second(run: wandb.Run) -> LogFlusher | None:
    """Make sure that whatever an offline run logs is on disk a second later.

    Returns:
        The thread that flushes the log. None if wandb does it by a setting, or if this release does
        not allow it; the latter is logged as a warning.
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
    """Open a new online run with every time limit that wandb offers; wandb's errors are raised.

    Args:
        arguments: The arguments of `wandb.init`.
        api_key: The W&B key, used for this run only.
        base_url: URL of the W&B API.
        mode: `online` or `shared`.
        timeout_s: Time limit in seconds for opening the run.
    """
    use_writable_folders()
    given = {name: value for name, value in arguments.items() if value is not None}
    given |= {"mode": mode, "reinit": "create_new"}
    # as settings and not by `wandb.login`, which writes the key to ~/.netrc
    defaults = {
        **_LEAN,
        **_BOUNDED,
        "init_timeout": timeout_s,
        "api_key": api_key,
        "base_url": base_url,
    }
    note_version()
    return _init(given, defaults)


def start_silent_run() -> wandb.Run:
    """Open a run that accepts every call and does nothing."""
    use_writable_folders()
    import wandb

    with _fit_environment():
        return wandb.init(mode="disabled", settings=wandb.Settings(silent=True))


def global_run() -> wandb.Run | None:
    """The current `wandb.run`; None if there is none, also in place of one that was deleted."""
    import wandb

    if not hasattr(wandb, "run"):
        wandb.run = None  # wandb itself relies on it
    return wandb.run


def make_global(run: wandb.Run) -> None:
    """Make `wandb.run`, `wandb.log` and the other module functions refer to this run."""
    import wandb

    wandb.run = run
    for name in _GLOBALS:
        # not every release has all of them
        if hasattr(run, name):
            setattr(wandb, name, getattr(run, name))


def forget_global(run: wandb.Run) -> None:
    """Make `wandb.run` None if it is still this run, because wandb could not finish it."""
    import wandb

    if global_run() is run:
        wandb.run = None


def _merged_settings(own: Any, defaults: Mapping[str, Any]) -> wandb.Settings:
    import wandb

    # the `x_` settings are private and come and go between releases
    settings = wandb.Settings(**known_settings(defaults))
    if isinstance(own, wandb.Settings):
        settings.update_from_settings(own)
    elif own:
        settings.update_from_dict(dict(own))
    return settings


@contextmanager
def _fit_environment() -> Iterator[None]:
    """An environment for `wandb.init`: no variable that harms our run, no Weave, a folder to be in.

    With Weave, wandb would open connections even for an offline run.
    """
    name = "WANDB_DISABLE_WEAVE"
    before = os.environ.get(name)
    # wandb has no setting for it
    os.environ[name] = "1"
    try:
        with existing_working_folder(), only_usable_variables():
            yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
