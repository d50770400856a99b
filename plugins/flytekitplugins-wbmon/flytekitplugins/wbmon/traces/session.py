"""Life cycle of a task's traces: opened before the body, closed and delivered after it.

Errors inside Weave are logged and never reach the task. A process has only one Weave client, so a
second session of the same project shares it. A second session of another project is not traced,
because its calls would be recorded in the project of the first.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flytekitplugins.wbmon.context import restore
from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.process import WorkerProcess
from flytekitplugins.wbmon.delivery.traces.pending import DrainResult, read_result
from flytekitplugins.wbmon.delivery.traces.spool import Spool, Target
from flytekitplugins.wbmon.delivery.traces.store import clear_or_keep
from flytekitplugins.wbmon.flyte.deck import show_note, show_run
from flytekitplugins.wbmon.flyte.identity import TaskIdentity, current_identity, run_id
from flytekitplugins.wbmon.flyte.termination import (
    TERMINATING_TIMEOUT_S,
    exit_on_sigterm,
    hold_sigint,
    hold_sigterm,
    is_terminating,
    terminating_until,
)
from flytekitplugins.wbmon.run.api_key import api_key_of
from flytekitplugins.wbmon.run.closed_stderr import silence_closed_stderr
from flytekitplugins.wbmon.run.offline_store import open_store, store_url
from flytekitplugins.wbmon.run.redactor import task_redactor
from flytekitplugins.wbmon.storage.room import (
    absolute_path,
    discard_scratch,
    folder_with_room,
    why_not_writable,
    working_folder,
)
from flytekitplugins.wbmon.traces import weave_client
from flytekitplugins.wbmon.traces.call_rows import CallRows
from flytekitplugins.wbmon.traces.settings import TraceSettings

logger = logging.getLogger(__name__)

WORKER = "flytekitplugins.wbmon.delivery.traces.worker"
# for the worker to write down how far it came
_GRACE_S = 1.0


@dataclass(slots=True, kw_only=True, eq=False)
class TraceSession:
    """State of the tracing of one task.

    Attributes:
        project: `entity/project`; empty if nothing is traced.
        client: The Weave client; None if nothing is traced.
        url: Page of the project's traces.
        thread_id: Groups the traces of one attempt of the task.
        kept_in: After the task, where undelivered traces are stored; empty if there are none.
        result: After the task, the outcome of the delivery.
        spool: The files on disk to which requests are written; None if nothing is traced.
    """

    project: str = ""
    client: Any = None
    url: str = ""
    thread_id: str = ""
    kept_in: str = ""
    result: DrainResult | None = None
    spool: Spool | None = field(default=None, repr=False)
    _rows: CallRows | None = field(default=None, repr=False)
    _worker: WorkerProcess | None = field(default=None, repr=False)
    _store_url: str = ""
    _timeout_s: float = 0.0
    _why_unsent: str = ""
    _is_offline: bool = False
    _before: Any = None
    _about: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _take_back: tuple[Callable[[], None], ...] = ()
    _process: int = field(default_factory=os.getpid)
    _n_users: int = 1

    def write(self, kind: str, req: Mapping[str, Any]) -> None:
        """Write one request of the Weave client to the spool and the call log."""
        if self.spool is not None:
            self.spool.write(kind, req)
        if self._rows is not None:
            self._rows.note(kind, req)

    def patch(self, providers: tuple[str, ...]) -> None:
        """Trace the calls of these client libraries until the session ends."""
        if self.client is not None:
            self._take_back += tuple(weave_client.patch(each) for each in providers)

    def hurry(self) -> None:
        """Allow the delivery no more time than a process has that was told to stop."""
        self._timeout_s = min(self._timeout_s, TERMINATING_TIMEOUT_S)

    def end(self) -> None:
        """Close the client and deliver the traces in bounded time; keep those not confirmed."""
        for take_back in self._take_back:
            _safely(take_back)
        if self.client is not None:
            # before the spool is closed: flushing may still write requests
            _safely(lambda: weave_client.finish(self.client))
            _safely(lambda: weave_client.activate(self._before))
        if self._rows is not None:
            self._rows.close()
        if self.spool is None:
            return
        self.spool.close()
        if self._worker is not None:
            began = time.monotonic()
            self._worker.finish(
                self._timeout_s, grace_s=_GRACE_S, until=lambda: terminating_until(began)
            )
            self.result = read_result(self.spool.folder)
        else:
            self.result = DrainResult(0, self.spool.n_records, reason=self._why_unsent)
        level = logging.INFO if self._is_offline else logging.WARNING
        kept = clear_or_keep(
            self.spool.folder,
            self.result,
            (lambda: open_store(self._store_url)) if self._store_url else None,
            url=self._store_url,
            timeout_s=self._timeout_s,
            level=level,
        )
        discard_scratch(self.spool.folder)
        self.kept_in = kept.place
        if self.spool.n_lost:
            lost = f"{self.spool.n_lost} records could not be written: {self.spool.why_lost}"
            logger.warning("traces: %s", lost)
            show_note(f"Traces are not whole: {lost}")
        if kept.place:
            show_note(f"Traces wait in {kept.place}: {self.result.reason}")
        if kept.problem:
            show_note(f"Traces could not be stored: {kept.problem}")


def _safely(step: Callable[[], Any]) -> None:
    """Run a step and log its errors: a failure in weave must not prevent the delivery."""
    try:
        step()
    except Exception as error:  # noqa: BLE001 - a monitor never breaks what it monitors
        logger.warning("Weave: could not end tracing (%s: %s)", type(error).__name__, error)


_CURRENT: ContextVar[TraceSession | None] = ContextVar("wbmon_trace", default=None)
# tasks may run in threads of one process, yet weave has a single client for all of them
_LOCK = threading.RLock()
_LIVE: list[TraceSession] = []


def current_trace() -> TraceSession | None:
    """The trace session of the running task; None outside `weave_init`."""
    return _CURRENT.get()


@contextmanager
def open_trace(
    settings: TraceSettings, *, task: str = "", inputs: Mapping[str, Any] | None = None
) -> Iterator[TraceSession]:
    """Trace the block as one call, with the ops inside it as descendants.

    Args:
        settings: The arguments of `weave_init`.
        task: Full name of the function or node.
        inputs: The inputs of the task; only text, numbers and booleans are recorded.

    Yields:
        The session; without a client if the task is not traced.

    Raises:
        ConfigError: If the secret is missing or is not text, or as `run_id`.
        MissingExtraError: If weave is not installed.
    """
    with _LOCK:
        session = _join(settings) or _open(settings, task, inputs or {})
        session.patch(settings.patch)
    token = _CURRENT.set(session)
    try:
        # a killed pod then leaves through `finally` and its traces are kept
        with exit_on_sigterm():
            try:
                with ExitStack() as stack:
                    if session.client is not None:
                        stack.enter_context(_root(session, task, inputs or {}))
                    yield session
            finally:
                _leave(session)
    finally:
        restore(_CURRENT, token)


def _join(settings: TraceSettings) -> TraceSession | None:
    for session in _LIVE:
        if session.project == _project(settings):
            session._n_users += 1  # noqa: SLF001 - our own
            return session
    if _LIVE and settings.run.mode != "disabled":
        logger.warning(
            "Weave traces of %s are not recorded while those of %s are: a process has one "
            "Weave client; run them in tasks of their own",
            _project(settings),
            _LIVE[0].project,
        )
        return TraceSession()
    return None


def _leave(session: TraceSession) -> None:
    # a forked child leaves the block too, and has nothing to end
    if session._process != os.getpid():  # noqa: SLF001 - our own
        return
    # a second signal must not keep the traces from being stored
    with hold_sigint(), hold_sigterm(), silence_closed_stderr():
        with _LOCK:
            session._n_users -= 1  # noqa: SLF001 - our own
            if session._n_users or session not in _LIVE:  # noqa: SLF001 - our own
                return
            _LIVE.remove(session)
        if is_terminating():
            session.hurry()
        # outside the lock: delivery takes seconds, and other tasks may open traces meanwhile
        _safely(session.end)


def _project(settings: TraceSettings) -> str:
    run = settings.run
    # offline traces need no project, but the client and the spool need names
    return f"{run.resolved_entity or 'local'}/{run.resolved_project or 'offline'}"


def _open(settings: TraceSettings, task: str, inputs: Mapping[str, Any]) -> TraceSession:
    if settings.run.mode == "disabled":
        return TraceSession()
    weave_client.weave_version()
    identity = current_identity(task)
    key = api_key_of(settings.run, identity)
    session = TraceSession(
        project=_project(settings),
        thread_id=run_id(identity, settings.run.id, inputs=inputs) or "",
    )
    try:
        _start(session, settings, identity, key)
        session._before = weave_client.activate(session.client)  # noqa: SLF001 - our own
    except weave_client.UnsupportedWeaveError as error:
        weave_client.say_once(_untraced(error, settings))
        return TraceSession()
    except Exception as error:  # noqa: BLE001 - a monitor never breaks what it monitors
        shown = task_redactor(key).text(str(error))
        logger.warning("Weave: going on without traces (%s: %s)", type(error).__name__, shown)
        return TraceSession()
    _LIVE.append(session)
    session.url = _url(settings, session)
    show_run(f"Weave {session.project}", session.url)
    return session


def _untraced(why: Exception, settings: TraceSettings) -> str:
    rows = f", and {settings.call_log} gets no rows of them" if settings.call_log else ""
    return (
        f"{why}: tasks run as ever, but are not traced{rows}; what instrument_openai logs goes on"
    )


def _start(
    session: TraceSession, settings: TraceSettings, identity: TaskIdentity, key: ApiKey | None
) -> None:
    entity, _, project = session.project.partition("/")
    redactor = task_redactor(key)

    def clean(text: str) -> str:
        own = settings.redact(text) if settings.redact is not None else text
        # last, so that the user's function cannot bring the key back
        return redactor.text(own)

    session._about = {"flyte": identity.to_config()}  # noqa: SLF001 - our own
    # first: it raises for an unsupported release of weave, before anything has been started
    session.client = weave_client.offline_client(
        entity,
        project,
        session.write,
        capture_code=settings.capture_code,
        about=session._about,  # noqa: SLF001 - our own
    )
    session.spool = Spool(
        _spool_root(identity),
        Target(entity=entity, project=project, trace_url=settings.trace_url),
        redact=clean,
        capture_code=settings.capture_code,
    )
    session._is_offline = settings.run.mode == "offline"  # noqa: SLF001 - our own
    session._store_url = store_url(settings.run.offline_store, identity)  # noqa: SLF001 - our own
    session._timeout_s = settings.run.delivery_timeout_s  # noqa: SLF001 - our own
    if settings.call_log:
        session._rows = CallRows(  # noqa: SLF001 - our own
            settings.call_log,
            service=identity.task_name or "task",
            current_call=weave_client.current_call,
        )
    if key is None:
        why = "offline, as asked" if session._is_offline else "there is no W&B key"  # noqa: SLF001
        session._why_unsent = why  # noqa: SLF001 - our own
        return
    worker = WorkerProcess.try_start(WORKER, key, timeout_s=session._timeout_s)  # noqa: SLF001
    if worker is None:
        session._why_unsent = "no process could be started to send them"  # noqa: SLF001 - our own
    else:
        worker.begin(session.spool.folder)
    session._worker = worker  # noqa: SLF001 - our own


def _spool_root(identity: TaskIdentity) -> Path:
    # as W&B does for its own runs, so that a user finds both in one folder
    given = os.environ.get("WANDB_DIR")
    here = absolute_path(given) if given else working_folder()
    if identity.is_local and here and not why_not_writable(here):
        return here / "wandb" / "weave"
    return Path(tempfile.mkdtemp(prefix="weave-", dir=folder_with_room()))


def _url(settings: TraceSettings, session: TraceSession) -> str:
    if session.client is None or settings.run.resolved_project is None:
        return ""
    return f"{settings.run.resolved_host}/{quote(session.project)}/weave/traces"


def _root(
    session: TraceSession, task: str, inputs: Mapping[str, Any]
) -> AbstractContextManager[Any]:
    """A context that records the task itself as a call, with its plain inputs."""
    plain = {n: v for n, v in inputs.items() if isinstance(v, str | int | float | bool)}
    return weave_client.as_call(
        session.client,
        task,
        plain,
        thread_id=session.thread_id,
        about=session._about,  # noqa: SLF001
    )
