"""Access to parts of wandb that are not its public API: log records, private settings, beta sync.

wandb is released every month and may change these at any time. So each part is checked before it is
used. If a part is missing or has another signature, the caller works without it, and a warning with
wandb's version is logged once:

| part | what it is for | without it |
|---|---|---|
| private settings | a lean run, time limits, a log that is flushed every second | left out |
| the interface of a run | to flush the log of releases that have no setting for it | rows reach the disk when wandb likes |
| `wandb.cli.beta_sync` | rows in W&B while the task runs | rows in W&B when the task is done |
| the class of a run's config | to hide secrets that a task puts there | they go out as they are |
| records as protobuf | to send what is missing, to store a run with its artifacts | the run is kept as wandb wrote it |
"""  # noqa: E501 - a table

from __future__ import annotations

import inspect
import logging
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import PublishError

if TYPE_CHECKING:
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    import wandb

logger = logging.getLogger(__name__)

# oldest and newest release that `make matrix` was run with
TRIED = ((0, 23), (0, 31))
# bytes in a block of the log; wandb writes a block to disk when it is full
BLOCK = 32 * 1024

_SYNC_ARGUMENTS: Mapping[str, Any] = {
    "live": True,
    "entity": "",
    "project": "",
    "run_id": "",
    "job_type": "",
    "replace_tags": "",
    "dry_run": False,
    "skip_confirmation": True,
    "skip_synced": False,
    "skip_online": False,
    "verbose": False,
    "parallelism": 1,
}


class UnsupportedWandbError(PublishError):
    """This release of wandb lacks a part, or has it in a form that we do not know."""


@cache
def note_version() -> None:
    """Log wandb's version, once per process; warn if we never tested this release."""
    import wandb

    logger.info("wandb %s", wandb.__version__)
    release = tuple(map(int, re.findall(r"\d+", wandb.__version__)[:2]))
    if not TRIED[0] <= release <= TRIED[1]:
        logger.warning(
            "wandb %s is not one of the releases that were tried, %s to %s; what it does "
            "differently is told below",
            wandb.__version__,
            *(".".join(map(str, release)) for release in TRIED),
        )


@cache
def warn_missing(guarantee: str) -> None:
    """Warn, once per process and message, about something that this release of wandb cannot do.

    Args:
        guarantee: What holds instead.
    """
    import wandb

    logger.warning("wandb %s: %s", wandb.__version__, guarantee)


def known_settings(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that this release of wandb knows; it would ignore others silently."""
    import wandb

    fields = getattr(wandb.Settings, "model_fields", {})
    return {name: value for name, value in wanted.items() if name in fields}


def record_type() -> type[Record]:
    """The protobuf message class of the records in a log.

    Raises:
        UnsupportedWandbError: If this release of wandb does not have it in the known module.
    """
    try:
        from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]
    except ImportError as error:
        raise UnsupportedWandbError(
            "wandb.proto.wandb_internal_pb2 must have the class Record to read a run's log, and "
            f"has not: {error}; install a release of wandb that docs/versions.md names"
        ) from error
    return Record


def publisher(run: wandb.Run) -> Any:
    """The object whose method `_publish` sends a run's records to wandb's service.

    Raises:
        UnsupportedWandbError: If the run has no such object.
    """
    backend = getattr(run, "_backend", None)  # up to 0.27
    interface = getattr(run, "_interface", None) or getattr(backend, "interface", None)
    if not callable(getattr(interface, "_publish", None)):
        raise UnsupportedWandbError("a run must have an interface that publishes, found none")
    return interface


def padding() -> Record:
    """A record without content that fills a block, so that wandb writes all before it to disk.

    It is a second header record, which wandb ignores; `is_padding` tells it from the first one.
    """
    # at least one block, wherever in a block it begins
    record = record_type()(uuid="0" * BLOCK)
    record.header.SetInParent()
    return record


def is_padding(record: Record) -> bool:
    """Whether a record is one of `padding`."""
    return record.HasField("header") and len(record.uuid) >= BLOCK


def live_sync() -> Callable[[Path], None] | None:
    """Wandb's sync of a log that is still being written; it returns after the end of the run.

    Returns:
        A function of the log's path; None if this release has no such sync, or one that requires
        an argument we do not know.
    """
    try:
        from wandb.cli.beta_sync import sync

        parameters = inspect.signature(sync).parameters
    except (ImportError, TypeError, ValueError):
        return None
    required = {name for name, one in parameters.items() if one.default is one.empty}
    if "live" not in parameters or not required <= {"paths", *_SYNC_ARGUMENTS}:
        return None
    arguments = {name: value for name, value in _SYNC_ARGUMENTS.items() if name in parameters}
    return lambda log: sync([log], **arguments)


def load_lean() -> None:
    """Load wandb without numpy, which are ten MiB for values that are not logged here.

    Only for a process that delivers: no code in it can load numpy from here on.
    """
    if "numpy" in sys.modules:
        return
    # as Python marks a module that must not be imported
    sys.modules["numpy"] = None  # type: ignore[assignment]
    try:
        import wandb  # noqa: F401
    except ImportError:
        # a release that needs it
        del sys.modules["numpy"]


def start_service(settings: Mapping[str, Any]) -> None:
    """Load wandb and start its service; without `ensure_service` it starts when first needed."""
    import wandb

    singleton = wandb.setup(settings=wandb.Settings(silent=True, **known_settings(settings)))
    ensure = getattr(singleton, "ensure_service", None)
    if callable(ensure):
        ensure()


def give_key(key: str, *, api_host: str) -> None:
    """Give wandb the key of a server, for this process only.

    Must run after `start_service`: the service inherits the environment, not what wandb knows.

    Args:
        key: The W&B key.
        api_host: URL of the W&B API.
    """
    import wandb

    # a key of a form that wandb refuses: the server says so too, in words of its own
    with suppress(Exception):
        wandb.setup(settings=wandb.Settings(api_key=key, base_url=api_host, silent=True))


def config_class() -> type[Any] | None:
    """The class of a run's config; None if this release does not have it in the known module."""
    try:
        from wandb.sdk.wandb_config import Config
    except ImportError:
        return None
    return Config
