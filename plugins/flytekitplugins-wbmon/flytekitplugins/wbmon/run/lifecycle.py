"""The life cycle of a run: it is opened before the body and ended with the body's outcome.

Errors inside W&B are logged and not raised: the body then gets a run that does nothing, and its
result is unaffected. Errors of the user, such as a missing secret, are raised before the body runs.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.context import restore
from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.errors import error_message, error_type
from flytekitplugins.wbmon.flyte.deck import show_run
from flytekitplugins.wbmon.flyte.identity import TaskIdentity, current_identity, is_template, run_id
from flytekitplugins.wbmon.flyte.internals import running_task
from flytekitplugins.wbmon.flyte.lazy_modules import let_lazy_modules_sleep
from flytekitplugins.wbmon.flyte.termination import (
    TERMINATING_TIMEOUT_S,
    exit_on_sigterm,
    hold_sigint,
    hold_sigterm,
    is_terminating,
)
from flytekitplugins.wbmon.privacy.secrets import SecretRedactor
from flytekitplugins.wbmon.run import wandb_client as client
from flytekitplugins.wbmon.run.api_key import api_key_of
from flytekitplugins.wbmon.run.closed_stderr import log_safely, silence_closed_stderr
from flytekitplugins.wbmon.run.init_arguments import flyte_config, init_arguments, run_url
from flytekitplugins.wbmon.run.log_calls import make_safe
from flytekitplugins.wbmon.run.online import OnlineRun
from flytekitplugins.wbmon.run.outcome import TaskOutcome, outcome_of
from flytekitplugins.wbmon.run.output_artifact import log_outputs
from flytekitplugins.wbmon.run.ranks import current_rank
from flytekitplugins.wbmon.run.redacted_config import redact_config, redacting_configs
from flytekitplugins.wbmon.run.redactor import task_redactor
from flytekitplugins.wbmon.run.settings import RunSettings
from flytekitplugins.wbmon.run.spooled import SpooledRun

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True, eq=False)
class _OpenRun:
    """An open run and the state that is needed to end it.

    Attributes:
        run: None if W&B could not provide even a run that does nothing.
        place: Identifies the task that the run belongs to; see `_place`.
        redactor: Hides the run's key.
        outer: The previous `wandb.run`, if this run replaced it.
        writer: Delivers the run to W&B or to the offline store; None for a run that does nothing.
        logs_outputs: Whether the outputs of the task are logged as an artifact.
        n_users: Number of blocks that share the run; the last one ends it.
        outcome: The outcome of the first block that failed.
        process: Id of the process that opened the run. A forked child has a copy of this object,
            and must not end the run of its parent.
        is_ended: Set when the run has ended and is delivered or stored.
    """

    run: wandb.Run | None
    place: str
    redactor: SecretRedactor
    outer: wandb.Run | None = None
    writer: SpooledRun | OnlineRun | None = None
    logs_outputs: bool = False
    n_users: int = 1
    outcome: TaskOutcome = field(default_factory=TaskOutcome)
    process: int = field(default_factory=os.getpid)
    is_ended: threading.Event = field(default_factory=threading.Event)


# a context variable, so that threads and coroutines of different tasks see their own runs
_CURRENT: ContextVar[_OpenRun | None] = ContextVar("wbmon_run", default=None)
_LOCK = threading.RLock()
# by run id: blocks with the same id share one run, because a server refuses an id that is in use
_LIVE: dict[str, _OpenRun] = {}
# runs that some thread is ending
_ENDING: list[_OpenRun] = []


def _forget_parent() -> None:
    global _LOCK  # noqa: PLW0603 - a lock cannot be made anew in place
    # another thread of the parent may have held it, and does not exist in the child
    _LOCK = threading.RLock()
    _ENDING.clear()


os.register_at_fork(after_in_child=_forget_parent)


def current_run() -> wandb.Run | None:
    """The W&B run of the calling task.

    Returns:
        None outside of `wandb_init`. A run that accepts every call and does nothing if tracking is
        switched off (`enabled=False`), if this rank opens no run, or if W&B failed.
    """
    opened = _CURRENT.get()
    return None if opened is None else opened.run


@contextmanager
def open_run(
    settings: RunSettings, *, task: str = "", inputs: Mapping[str, Any] | None = None
) -> Iterator[wandb.Run | None]:
    """Open the run of a task and end it with the outcome of the block.

    A block that is nested in another block of the same task uses the run of the outer block.

    Args:
        settings: The arguments of `wandb_init`.
        task: Full name of the function or node.
        inputs: The task's inputs by name, for an id or a `dir` argument that names one.

    Yields:
        The run; None if W&B could not provide any run.

    Raises:
        ConfigError: If the secret is missing or is not text, or if the environment names a target
            that cannot be, or if the id names an input that cannot be part of one.
    """
    place = _place()
    outer = _CURRENT.get()
    if outer is not None and outer.place == place:
        yield outer.run
        return
    with silence_closed_stderr():
        opened = _open(settings, task, inputs or {}, place)
    token = _CURRENT.set(opened)
    try:
        with exit_on_sigterm():
            try:
                yield opened.run
            # also SystemExit, KeyboardInterrupt and the cancellation of a coroutine end the run
            except BaseException as error:
                _leave(opened, error)
                raise
            _leave(opened, None)
    finally:
        restore(_CURRENT, token)


def end_live_runs(error: BaseException) -> None:
    """End every open run of the process as failed, because the process is about to end.

    Args:
        error: Why.
    """
    with hold_sigint(error), silence_closed_stderr():
        # copies: `_end` removes entries, in whatever thread it runs
        for opened in [one for one in list(_LIVE.values()) if one.process == os.getpid()]:
            _note(opened, error)
            _end(opened)
        for opened in tuple(_ENDING):
            opened.is_ended.wait(2 * TERMINATING_TIMEOUT_S)


def _end_at_exit() -> None:
    # another thread is still in its block
    end_live_runs(RuntimeError("the process ended before the task"))


def _place() -> str:
    """An identifier that all code of one task shares and no other task of the process has.

    A pod runs one task, so a constant is enough there. In a local execution flytekit gives each
    task its own working directory.
    """
    running = running_task()
    if running is None:
        return "script"
    return str(running.params.working_directory) if running.is_local else "pod"


def _open(settings: RunSettings, task: str, inputs: Mapping[str, Any], place: str) -> _OpenRun:
    let_lazy_modules_sleep()
    rank = current_rank()
    if settings.mode == "disabled" or not (rank is None or rank.opens_run(settings.rank_scope)):
        with _LOCK:
            return _register(_silent_run(), place, SecretRedactor())
    # again: the environment may differ from that of the machine that registered the task
    settings.check_target()
    identity = current_identity(task)
    key = api_key_of(settings, identity)
    redactor = task_redactor(key)
    wanted = run_id(
        identity,
        settings.id,
        suffix=rank.suffix(settings.rank_scope) if rank else "",
        inputs=inputs,
    )
    _warn_of_shared_id(settings, identity)
    # opening is under the lock too, or two threads could open the same id
    with _LOCK:
        live = _LIVE.get(wanted or "")
        if live is not None:
            live.n_users += 1
            return live
        writer = _writer_of(settings, identity, key)
        try:
            arguments = init_arguments(
                settings, identity, run_id=wanted, inputs=inputs, redactor=redactor
            )
            with redacting_configs(redactor):
                run = writer.open(arguments)
            redact_config(run, redactor)
            _keep_private(writer.folder)
            make_safe(run, redactor)
            run.config["flyte"] = {**flyte_config(identity, rank), **writer.to_config()}
        except Exception as error:  # noqa: BLE001 - a monitor never breaks what it monitors
            writer.abandon()
            _warn("could not open the run, going on without", error, redactor)
            return _register(_silent_run(), place, redactor)
        opened = _register(run, place, redactor)
        opened.writer = writer
        # last, so that it comes before wandb's own, which would call the run finished
        atexit.unregister(_end_at_exit)
        atexit.register(_end_at_exit)
        opened.logs_outputs = settings.log_artifacts
    url = run_url(settings, run.id)
    logger.info("W&B run %s in %s %s", run.id, writer.folder, url)
    show_run(f"{run.project}/{run.id}", url)
    return opened


def _keep_private(folder: Path) -> None:
    """Let nobody else of the machine read the run's folder, with all that is put there later."""
    with suppress(OSError):  # of another owner, or on a file system without modes
        folder.chmod(0o700)


def _writer_of(
    settings: RunSettings, identity: TaskIdentity, key: ApiKey | None
) -> SpooledRun | OnlineRun:
    # the online mode needs a key; without one the run is stored offline
    if settings.delivery == "online" and key is not None:
        return OnlineRun(settings, identity, key)
    return SpooledRun(settings, identity, key)


def _warn_of_shared_id(settings: RunSettings, identity: TaskIdentity) -> None:
    if settings.id is None or is_template(settings.id) or identity.shard is None:
        return
    logger.warning(
        "every shard of %s writes to the one run %r; give wandb_init an id such as '%s-{shard}'",
        identity.task, settings.id, settings.id,
    )  # fmt: skip


def _silent_run() -> wandb.Run | None:
    before = None
    try:
        before = client.global_run()
        return client.start_silent_run()
    except Exception as error:  # noqa: BLE001 - wandb itself may be out of order
        _warn("wandb cannot be used", error, SecretRedactor())
        return None
    finally:
        # a disabled run always replaces `wandb.run`, also that of another task
        if before is not None:
            client.make_global(before)


def _register(run: wandb.Run | None, place: str, redactor: SecretRedactor) -> _OpenRun:
    """Register the run as open, and make it `wandb.run` unless that is another task's run."""
    opened = _OpenRun(run=run, place=place, redactor=redactor)
    if run is None:
        return opened
    around = _CURRENT.get()
    before = client.global_run()
    # the run of the enclosing block may be replaced; a run of the user or of another task may not
    if before is None or before is run or (around is not None and before is around.run):
        client.make_global(run)
        opened.outer = before if before is not run else None
    if not run.disabled:
        _LIVE[run.id] = opened
    return opened


def _leave(opened: _OpenRun, error: BaseException | None) -> None:
    # a forked child leaves the block too, and has nothing to end
    if opened.process != os.getpid():
        return
    # a second signal must not keep the run from being stored
    with hold_sigint(error), hold_sigterm(), silence_closed_stderr():
        _note(opened, error)
        with _LOCK:
            opened.n_users -= 1
            is_last = opened.n_users == 0
            # under the lock: a new block must open a new run and not join one that is ending
            if is_last and opened.run is not None:
                _LIVE.pop(opened.run.id, None)
        # outside of the lock: the delivery may take as long as its time limit
        if is_last:
            _end(opened)


def _note(opened: _OpenRun, error: BaseException | None) -> None:
    if not opened.outcome.exit_code:
        opened.outcome = outcome_of(error, opened.redactor)


def _end(opened: _OpenRun) -> None:
    run = opened.run
    if run is None:
        return
    with _LOCK:
        if opened in _ENDING or opened.is_ended.is_set():
            return
        _ENDING.append(opened)
        _LIVE.pop(run.id, None)
    try:
        # a process that was told to stop has only seconds, which the delivery needs
        if opened.logs_outputs and not is_terminating():
            _log_outputs(opened, run)
        _finish(opened, run)
    finally:
        opened.is_ended.set()
        _ENDING.remove(opened)


def _log_outputs(opened: _OpenRun, run: wandb.Run) -> None:
    try:
        # the metrics of the artifact are read from the log on disk
        if opened.writer is not None:
            opened.writer.flush()
            log_outputs(run, opened.writer.folder)
    except Exception as error:  # noqa: BLE001 - the task is done, its result stands
        _warn("could not log the task's outputs", error, opened.redactor)


def _finish(opened: _OpenRun, run: wandb.Run) -> None:
    try:
        if opened.writer is None:
            run.finish(exit_code=opened.outcome.exit_code)
        else:
            opened.writer.end(run, opened.outcome)
        client.forget_global(run)
        # if another run was made global meanwhile, that one stays
        if opened.outer is not None and client.global_run() is None:
            client.make_global(opened.outer)
    except Exception as error:  # noqa: BLE001 - the task is done, its result stands
        _warn("could not finish the run", error, opened.redactor)


def _warn(what: str, error: Exception, redactor: SecretRedactor) -> None:
    shown = redactor.text(error_message(error))
    with log_safely():
        logger.warning("W&B: %s (%s: %s)", what, error_type(error), shown)
