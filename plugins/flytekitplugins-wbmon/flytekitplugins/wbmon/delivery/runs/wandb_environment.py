"""Which of wandb's environment variables reach wandb while it opens or delivers our runs.

wandb reads every `WANDB_…` variable as one of its settings. A single value that it refuses, such as
`WANDB_SILENT=maybe` in the image of a pod, would make `wandb.init` raise, and with it the run would
be lost. Others would make it a different run than the task asked for: one `WANDB_RUN_ID` for every
pod, or a log that is not written. And some make wandb write the key into its own logs. None of them
is shown to wandb; a warning names them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

logger = logging.getLogger(__name__)

_PREFIX = "WANDB_"
# by the names of wandb's settings; what `run` reads itself and gives `wandb.init` as arguments, and
# the address of another process's service, with which this process's runs would end
_OURS = frozenset(
    {
        "app_url_override", "dir", "entity", "job_type", "mode", "name", "notes", "project",
        "root_dir", "run_group", "run_job_type", "run_name", "run_notes", "run_tags", "service",
        "tags",
    }
)  # fmt: skip
# which run it is, what is written of it, and time limits without which a run neither opens nor ends
_WITHHELD = frozenset(
    {
        "allow_offline_artifacts", "finish_timeout", "finish_timeout_raises",
        "force", "fork_from", "heartbeat_seconds", "identity_token_file", "init_timeout", "launch",
        "launch_config_path", "max_end_of_run_history_metrics", "reinit", "resume", "resume_from",
        "resumed", "run_id", "stop_fn", "sweep_id", "sweep_param_path", "sync_tensorboard",
        "x_cli_only_mode", "x_files_dir", "x_history_value_encoding", "x_internal_check_process",
        "x_label", "x_live_policy_rate_limit", "x_network_buffer", "x_primary",
        "x_server_side_derived_summary", "x_service_transport", "x_service_wait",
        "x_skip_transaction_log", "x_start_time", "x_sync", "x_sync_dir_suffix",
        "x_transaction_log_flush_interval", "x_update_finish_state",
    }
)  # fmt: skip
_KEY = "api_key"
_TELLING = frozenset({"debug", "core_debug"})


def usable_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables without those that wandb refuses, change the run, or show the key.

    Args:
        environ: Environment variables.
    """
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(_PREFIX) or _is_usable(name, value)
    }


@contextmanager
def only_usable_variables() -> Iterator[None]:
    """Take the other variables out of this process's environment inside the block."""
    kept = usable_environment(os.environ)
    hidden = {name: value for name, value in os.environ.items() if name not in kept}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        # one that was set meanwhile stays as it is
        for name, value in hidden.items():
            os.environ.setdefault(name, value)


def _setting(name: str) -> str:
    """The name of the setting that wandb takes from a variable."""
    rest = name.removeprefix(_PREFIX).lower()
    return f"x{rest}" if rest.startswith("_") else rest


# once per value, so that a process with many runs warns once
@cache
def _is_usable(name: str, value: str) -> bool:
    setting = _setting(name)
    if setting in _OURS:
        return False
    if setting in _WITHHELD:
        why = "it does not apply to runs of wandb_init, which has arguments and limits of its own"
    elif setting in _TELLING:
        why = "with it wandb writes the W&B key into its logs"
    elif setting == _KEY and _is_refused(name, value):
        return False  # a blank or a line break around it, which `run` takes off
    elif _is_refused(name, value):
        # not the value, which may be a secret
        why = "wandb refuses its value"
    else:
        return True
    logger.warning("W&B: the variable %s is left out: %s", name, why)
    return False


def _is_refused(name: str, value: str) -> bool:
    import wandb

    try:
        settings = wandb.Settings()
        settings.update_from_env_vars({name: value})
        # the form in which wandb hands its settings to its service, which has smaller numbers
        settings.to_proto()
    except AttributeError:
        return False  # a release that reads its settings in another way
    except Exception:  # noqa: BLE001 - wandb raises many kinds
        return True
    return False
