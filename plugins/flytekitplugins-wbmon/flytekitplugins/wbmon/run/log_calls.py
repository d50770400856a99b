"""The calls by which a task writes to its run, made safe: what is wrong with W&B never raises.

The service of wandb is a process beside the task. It can be killed for lack of memory, be shut
down by `wandb.teardown()`, or be out of reach of a forked child; wandb then raises in `run.log`.
Here such a call does nothing, and the first one of each kind is logged as a warning. What is wrong
with the arguments of a call is still raised, as wandb does.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.runs.steps import StepNotes
from flytekitplugins.wbmon.delivery.runs.wandb_internals import UnsupportedWandbError, publisher
from flytekitplugins.wbmon.errors import error_message, error_type
from flytekitplugins.wbmon.privacy.secrets import SecretRedactor
from flytekitplugins.wbmon.run.closed_stderr import log_safely
from flytekitplugins.wbmon.run.service import watched

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)

# the methods that write to a run; those that read from W&B raise, as the task needs what they read
_WRITING = (
    "alert", "define_metric", "log_artifact", "log_code", "log_model", "mark_preempting", "save",
)  # fmt: skip


def make_safe(run: wandb.Run, redactor: SecretRedactor) -> None:
    """Replace the methods of this run that write to it by ones that never raise because of W&B.

    Which rows have a step that the task gave is noted in the run's folder; see `StepNotes`.

    Args:
        run: A run that was just opened and is not global yet: wandb copies the methods there.
        redactor: Hides secrets in what is logged.
    """
    state = _WriterState(redactor)
    steps = StepNotes(Path(run.settings.sync_dir))
    methods = {"log": _noted(run.log, steps, state)}
    # not every release has all of them
    methods |= {name: getattr(run, name) for name in _WRITING if hasattr(run, name)}
    if "alert" in methods:
        methods["alert"] = _redacted(methods["alert"], redactor)
    # not by assignment, which a run allows for few names
    vars(run).update(
        {name: _SafeMethod(run, name, method, state) for name, method in methods.items()}
    )
    try:
        interface = publisher(run)
    except UnsupportedWandbError as error:
        logger.debug("changes of a run's config and summary may raise: %s", error)
        return
    # also what changes the config or the summary, which are not methods of the run
    publish = watched(interface._publish)  # noqa: SLF001 - wandb has no public way
    interface._publish = _SafeMethod(run, "config or summary", publish, state)  # noqa: SLF001


def logged_by(run: wandb.Run) -> tuple[int, Mapping[str, int]]:
    """What a run that was made safe has logged.

    Returns:
        Number of rows; of those that are put together from several calls, none is counted. And how
        many calls of each method have failed.
    """
    log = vars(run).get("log")
    return log.state.counts() if isinstance(log, _SafeMethod) else (0, {})


def _noted(log: Callable[..., None], steps: StepNotes, state: _WriterState) -> Callable[..., None]:
    @functools.wraps(log)
    def noting(data: Any, step: Any = None, commit: bool | None = None, **others: Any) -> None:
        if not steps.note(step, commit):
            state.warn_of_step(step)
        log(data, step, commit, **others)
        # such a call is a row of its own, or completes one
        if data and step is None and commit is not False:
            state.count_row()

    return noting


def _redacted(alert: Callable[..., None], redactor: SecretRedactor) -> Callable[..., None]:
    @functools.wraps(alert)
    def alerting(*given: Any, **named: Any) -> None:
        alert(*map(shown, given), **{name: shown(each) for name, each in named.items()})

    def shown(each: Any) -> Any:
        return redactor.text(each) if type(each) is str else each

    return alerting


class _WriterState:
    """What the safe methods of one run share: what was logged, who was warned, who is cut off."""

    def __init__(self, redactor: SecretRedactor) -> None:
        self.redactor = redactor
        self.opened_in = os.getpid()
        # a forked child has a connection of its own to the service, or none
        self.lost_in: set[int] = set()
        self.warned: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        self._n_rows = 0
        self._n_failed: Counter[str] = Counter()
        self._has_warned_of_step = False

    def count_row(self) -> None:
        with self._lock:
            self._n_rows += 1

    def warn_of_step(self, step: int) -> None:
        """Say once what wandb, which is silent here, would say each time."""
        if not self._has_warned_of_step:
            self._has_warned_of_step = True
            with log_safely():
                logger.warning(
                    "W&B: a row is left out: its step %s is lower than that of the row before; "
                    "steps must rise within a run, also if several blocks of the process write to "
                    "it", step,
                )  # fmt: skip

    def count_failure(self, name: str) -> None:
        with self._lock:
            self._n_failed[name] += 1

    def counts(self) -> tuple[int, Mapping[str, int]]:
        with self._lock:
            return self._n_rows, dict(self._n_failed)


class _SafeMethod:
    """A method without the errors that are not about its arguments.

    Args:
        run: The run that the method belongs to.
        name: Name of the method.
        method: Returns None if it fails.
        state: Shared by the methods of the run.
    """

    def __init__(
        self, run: wandb.Run, name: str, method: Callable[..., Any], state: _WriterState
    ) -> None:
        functools.update_wrapper(self, method)
        self._run = run
        self._name = name
        self._method = method
        self.state = state

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        lost_in = self.state.lost_in
        if lost_in and os.getpid() in lost_in:
            return None
        try:
            return self._method(*args, **kwargs)
        except Exception as error:
            if _is_about_arguments(error):
                raise
            self._lose(error)
            return None

    def __reduce__(self) -> Any:
        # like a bound method, for pools of processes
        return getattr, (self._run, self._name)

    def _lose(self, error: Exception) -> None:
        state, pid = self.state, os.getpid()
        state.count_failure(self._name)
        # each further try of a child would connect again, and wait for an answer
        if pid != state.opened_in:
            state.lost_in.add(pid)
        if (self._name, pid) in state.warned:
            return
        state.warned.add((self._name, pid))
        where = "" if pid == state.opened_in else " in this child process"
        shown = state.redactor.text(error_message(error))
        with log_safely():
            logger.warning(
                "W&B: run.%s failed and is ignored%s (%s: %s)",
                self._name, where, error_type(error), shown,
            )  # fmt: skip


def _is_about_arguments(error: Exception) -> bool:
    import wandb

    # its subclasses are about the server, and about runs that have ended or belong to a parent
    return isinstance(error, (TypeError, ValueError)) or type(error) is wandb.Error
