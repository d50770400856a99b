"""Delivery of one run: send what is missing and ask the server, until the server has everything.

The worker that delivers while the task runs uses it, and so does the task that delivers stored runs
later.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Container
from pathlib import Path

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs import sync_command as wandb_sync
from flytekitplugins.wbmon.delivery.runs.api import (
    RunTarget,
    ServedRun,
    ServerRefusedError,
    WandbApi,
)
from flytekitplugins.wbmon.delivery.runs.arrival import ArrivalWatch
from flytekitplugins.wbmon.delivery.runs.claim import BusyRunError, RunClaim
from flytekitplugins.wbmon.delivery.runs.pending_log import (
    LogContent,
    PendingLog,
    read_content,
    sent_steps,
)
from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress
from flytekitplugins.wbmon.delivery.runs.served_rows import arrived_rows
from flytekitplugins.wbmon.delivery.runs.tally import RunTally
from flytekitplugins.wbmon.delivery.runs.transaction_log import log_path
from flytekitplugins.wbmon.errors import DataError, PublishError

logger = logging.getLogger(__name__)

_NO_ROOM = "no disk has room for a copy of the run; it is sent in parts"
_POLL_S = 0.05
_LONGEST_POLL_S = 0.5
_BETWEEN_ATTEMPTS_S = 0.5
# another process needs seconds to send what it has
_BETWEEN_CLAIMS_S = 1.0
# the server may need a moment to show what it accepted; after that we send again
_CONFIRM_S = 3.0
# the number of rows must be constant for so long before we count on it
_AT_REST_S = 2.0
# of what is missing, in a reason
_NAMED = 3


class RunDelivery:
    """The delivery of one run's folder.

    Args:
        folder: The run's folder; the task may still be writing the log in it.
        api_host: URL of the W&B API.
        key: The W&B key.
        has_ended: Returns whether the process that writes the log is done, or dead.
        until: Returns the time on the clock of `time.monotonic()` at which to give up.
        tally: Returns what the task told of its end; called when the log is written.
        writer: Name of the log's writer if others may write the run too; None to read it from the
            log, which must then be complete.
        on_progress: Called each time after progress was saved in the folder, before more is sent.
            An exception that it raises ends the delivery.
    """

    def __init__(
        self,
        folder: Path,
        *,
        api_host: str,
        key: ApiKey,
        has_ended: Callable[[], bool],
        until: Callable[[], float],
        tally: Callable[[], RunTally] = RunTally,
        writer: str | None = None,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._api_host = api_host
        self._key = key
        self._api = WandbApi(api_host, key, until=until)
        self._has_ended = has_ended
        self._until = until
        self._tally = tally
        self._on_progress = on_progress
        name = read_content(folder).writer if writer is None else writer
        self._claim = RunClaim(self._api, name, until=until)
        self._found_files: set[str] = set()
        self.progress = DeliveryProgress.load(folder)

    def run(self, *, live: bool) -> DeliveryProgress:
        """Deliver until the server confirms or refuses the run, or the time is over.

        Args:
            live: Send rows while the task is still writing them.

        Returns:
            The progress, also saved in the folder.
        """
        self.progress.is_refused = False  # a wrong key or a missing project may be fixed by now
        while not self._is_over():
            try:
                self._attempt(live=live and not self._has_ended())
            except ServerRefusedError as error:
                self._note(str(error), is_refused=True)
            except BusyRunError as error:
                self._note(str(error))
                self._pause(_BETWEEN_CLAIMS_S)
                continue  # nothing was sent: it may still be sent live
            except (PublishError, DataError, OSError) as error:
                self._note(str(error))
            if self._is_over():
                break
            # the live sync reads the log from its start and failed once: send the rest at the end
            live = False
            self._pause()
        return self.progress

    def check(self) -> str:
        """Ask the server whether all has arrived, without sending the log.

        Returns:
            What is missing; empty if nothing is.
        """
        content = read_content(self._folder)
        tally = self._tally()
        # a log has no end if the disk was full, and one that is not the task's by `wandb.finish()`
        content.exit_code = content.exit_code if tally.exit_code is None else tally.exit_code
        try:
            target = self._wait_for_target()
            self._confirm(target, content)
            # the server may have more than the log, and then nothing is lost
            n_rows = _n_rows(self._api.find_run(target)) - (self.progress.first_line or 0)
            self.progress.lost = tally.lost(
                log_path(self._folder),
                n_rows=max(n_rows, content.n_rows),
                exit_code=content.exit_code,
            )
        except (PublishError, DataError, OSError) as error:
            self._note(str(error))
        self._save_progress()
        return self.progress.reason

    def _is_over(self) -> bool:
        # a refusal while the run is written is not final: at its end there is one more attempt
        is_final = self.progress.is_confirmed or (self.progress.is_refused and self._has_ended())
        return is_final or time.monotonic() > self._until()

    def _pause(self, seconds: float = _BETWEEN_ATTEMPTS_S) -> None:
        """Wait before the next attempt, longer while the run is written but not past its end."""
        began = time.monotonic()
        time.sleep(max(0.0, min(seconds, self._until() - began)))
        while not self._has_ended() and time.monotonic() < began + 10 * _BETWEEN_ATTEMPTS_S:
            time.sleep(_POLL_S)

    def _note(self, reason: str, *, is_refused: bool = False) -> None:
        self.progress.reason, self.progress.is_refused = reason, is_refused
        self._save_progress()

    def _save_progress(self) -> None:
        self.progress.save(self._folder)
        self._on_progress()

    def _attempt(self, *, live: bool) -> None:
        target = self._wait_for_target()
        if not live and not self._has_ended():
            return  # the rest is sent in one go when the run is done
        served = self._take(target)
        arrived = self._arrived(target, served)
        pending = PendingLog(
            self._folder, self.progress, arrived=arrived, served=served, claim=self._claim
        )
        if live:
            self._send_live(pending, target)
        else:
            self._send_rest(pending, target, served)
        self._confirm(target, pending.content)

    def _take(self, target: RunTarget) -> ServedRun | None:
        """Claim the run and find what it has, when no rows of an earlier delivery arrive there."""
        served, was_open = self._claim.take(target)
        if self.progress.first_line is None:
            self.progress.first_line = served.n_rows if served else 0
            self.progress.first_step = served.last_step + 1 if served and served.n_rows else 0
            self._save_progress()
            return served  # the first delivery: nothing of ours can be on its way
        if was_open:
            self.progress.is_shared = True
            self._save_progress()
        return self._at_rest(target, served)

    def _arrived(self, target: RunTarget, served: ServedRun | None) -> Container[int]:
        """Numbers of the rows of the log that the server has."""
        if served is None:
            return ()
        if not self.progress.is_shared:
            # `historyLineCount` also counts the rows that a resumed run had before this log
            return range(served.n_rows - (self.progress.first_line or 0))
        content = read_content(self._folder)
        steps = sent_steps(content, self._folder, self.progress.first_step)
        return arrived_rows(self._api, target, content.rows, steps)

    def _wait_for_target(self) -> RunTarget:
        while True:
            target = read_content(self._folder).target
            if target is not None:
                return target
            if self._has_ended() or time.monotonic() > self._until():
                raise DataError(f"the run in {self._folder} has no beginning; nothing was logged")
            time.sleep(_POLL_S)

    def _at_rest(self, target: RunTarget, served: ServedRun | None) -> ServedRun | None:
        # a count taken too early would send the late rows twice, as W&B appends and never replaces
        since = time.monotonic()
        while time.monotonic() < min(since + _AT_REST_S, self._until()):
            time.sleep(_POLL_S)
            now = self._api.find_run(target)
            if _n_rows(now) != _n_rows(served):
                since = time.monotonic()
            served = now
        return served

    def _send_live(self, pending: PendingLog, target: RunTarget) -> None:
        done: list[bool] = []
        # a thread, as the sync returns only at the run's end; a daemon, as it cannot be stopped
        sync = threading.Thread(
            target=lambda: done.append(wandb_sync.sync_live(pending.path)), daemon=True
        )
        # the sync needs a log that has a beginning
        pending.advance()
        sync.start()
        watch = ArrivalWatch(
            self._api,
            target,
            self.progress,
            is_ours=lambda served: not self.progress.is_shared and self._claim.holds(served),
        )
        while not self._has_ended() and sync.is_alive():
            pending.advance()
            self._try_alerts(target, pending.content)
            watch.note(pending.content, pending.position)
            if watch.position > self.progress.arrived:
                self.progress.arrived = watch.position
                self._save_progress()
            time.sleep(_POLL_S)
        if not sync.is_alive():
            raise PublishError("W&B's live sync ended early")
        self.progress.lost = pending.end(self._tally())
        if not pending.is_whole:
            raise PublishError(_NO_ROOM)  # the sync waits for the end
        while sync.is_alive() and time.monotonic() < self._until():
            sync.join(_POLL_S)
        self._note_sent(whole=not sync.is_alive())

    def _send_rest(self, pending: PendingLog, target: RunTarget, served: ServedRun | None) -> None:
        self.progress.lost = pending.end(self._tally())
        # a resumed run already has rows, summary keys and an end: `_missing` may then find nothing
        # missing although the new config and summary were never sent
        if not self.progress.is_sent or self._missing(target, served, pending.content):
            whole = wandb_sync.sync_apart(
                pending.path, api_host=self._api_host, key=self._key, until=self._until
            )
            self._note_sent(whole=whole and pending.is_whole)
        if not pending.is_whole:
            raise PublishError(_NO_ROOM)

    def _note_sent(self, *, whole: bool) -> None:
        self.progress.is_sent = self.progress.is_sent or whole
        self._save_progress()

    def _try_alerts(self, target: RunTarget, content: LogContent) -> None:
        if len(content.alerts) == len(self.progress.alerts):
            return
        try:
            # W&B rejects an alert of a run that it does not have yet
            if self._api.find_run(target) is not None:
                self._send_alerts(target, content)
        except PublishError as error:
            logger.debug("alert not accepted yet: %s", error)

    def _send_alerts(self, target: RunTarget, content: LogContent) -> None:
        for number, alert in enumerate(content.alerts):
            if number not in self.progress.alerts:
                self._api.send_alert(target, alert)
                # saved after each one, because W&B does not recognise an alert that is sent again
                self.progress.alerts.append(number)
                self._save_progress()

    def _confirm(self, target: RunTarget, content: LogContent) -> None:
        until = min(time.monotonic() + _CONFIRM_S, self._until())
        is_mended = False
        pause_s = _POLL_S
        while True:
            served = self._api.find_run(target)
            if served is not None:
                self._send_alerts(target, content)
            missing = self._missing(target, served, content)
            if not missing and served is not None and not _has_outcome(served, content):
                if not is_mended:  # once; the server may take a moment to show it
                    self._api.set_outcome(target, _exit_code(content))
                    is_mended = True
                missing = f"the run's outcome, which is {served.state} ({served.exit_code}) there"
            if not missing and served is not None:
                self._claim.release(served)
                self.progress.is_confirmed = True
                self._note("")
                return
            if time.monotonic() > until:
                raise PublishError(f"W&B does not have {missing}")
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_POLL_S)  # the server limits the rate of requests

    def _missing(self, target: RunTarget, served: ServedRun | None, content: LogContent) -> str:
        """What the server lacks, in words; empty if it has everything, alerts not considered."""
        if served is None:
            return "the run"
        if self._claim.is_lost(served):
            raise PublishError("another process has taken the run, whose rows must be looked at")
        arrived = self._arrived(target, served)
        n_missing = sum(number not in arrived for number in range(content.n_rows))
        if n_missing:
            return f"{n_missing} of {content.n_rows} rows"
        if not served.has_ended:
            return "the run's end"
        absent = content.summary_keys - set(served.summary)
        if absent:
            return f"{len(absent)} names of the summary, {_some(absent)}"
        artifacts = content.artifacts.items()
        if not all(self._api.has_artifact(client_id, digest) for client_id, digest in artifacts):
            return "an artifact"
        absent = self._absent_files(target, content)
        return f"{len(absent)} of its files, {_some(absent)}" if absent else ""

    def _absent_files(self, target: RunTarget, content: LogContent) -> set[str]:
        # what is not on this disk was deleted before it could be sent
        files = {name for name in content.files if (self._folder / "files" / name).is_file()}
        absent = self._api.absent_files(target, files - self._found_files)
        self._found_files |= files - absent
        return absent


def _n_rows(served: ServedRun | None) -> int:
    return served.n_rows if served else 0


def _some(names: Collection[str]) -> str:
    """The first names, in the order of the alphabet."""
    first = ", ".join(sorted(names)[:_NAMED])
    return f"{first} …" if len(names) > _NAMED else first


def _exit_code(content: LogContent) -> int:
    """The run's exit code; 1 for a log without an end, whose process was killed."""
    return 1 if content.exit_code is None else content.exit_code


def _has_outcome(served: ServedRun, content: LogContent) -> bool:
    """Whether state and exit code of the run on the server agree with its log.

    `wandb sync` before 0.28 marks every run as finished, whatever its exit code.
    """
    code = _exit_code(content)
    # a run that failed may also be `crashed`, `killed` or `preempted` there
    has_state = (served.state == "finished") == (code == 0)
    return has_state and served.exit_code in (None, code)
