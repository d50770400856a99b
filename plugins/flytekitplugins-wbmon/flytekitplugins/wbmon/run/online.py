"""W&B's own online mode with time limits, and offline delivery as a fallback.

It is meant for tasks that read from W&B (`use_artifact`), which an offline run cannot do. Logging a
table while the server is unreachable still blocks the task for about twenty seconds; no setting of
wandb prevents this.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.api import RunTarget, WandbApi
from flytekitplugins.wbmon.delivery.runs.deliver import RunDelivery
from flytekitplugins.wbmon.delivery.runs.pending_log import read_content
from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress
from flytekitplugins.wbmon.delivery.runs.steps import FILE_NAME as STEPS
from flytekitplugins.wbmon.delivery.runs.tally import RunTally
from flytekitplugins.wbmon.errors import WbmonError
from flytekitplugins.wbmon.flyte.identity import TaskIdentity
from flytekitplugins.wbmon.flyte.termination import terminating_until
from flytekitplugins.wbmon.run import wandb_client as client
from flytekitplugins.wbmon.run.ended import RunEnd
from flytekitplugins.wbmon.run.outcome import TaskOutcome
from flytekitplugins.wbmon.run.redactor import task_redactor
from flytekitplugins.wbmon.run.service import kill_service_at_exit
from flytekitplugins.wbmon.run.settings import RunSettings
from flytekitplugins.wbmon.run.spooled import SpooledRun, tally_of

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)

# wandb's own limit is 90 s, which a task should not lose when the server is unreachable
_INIT_TIMEOUT_S = 10.0


class OnlineRun:
    """Opens the run online if the server answers, and as a `SpooledRun` if not.

    Args:
        settings: The arguments of `wandb_init`.
        identity: Identity of the running task.
        key: The W&B key.

    Attributes:
        folder: The run's folder, once it is open.
    """

    def __init__(self, settings: RunSettings, identity: TaskIdentity, key: ApiKey) -> None:
        self._settings = settings
        self._key = key
        self._end = RunEnd(settings, identity, has_key=True)
        self._spooled = SpooledRun(settings, identity, key)
        self._is_online = False
        self.folder = Path()

    def open(self, arguments: Mapping[str, Any]) -> wandb.Run:
        """Start the run online, or offline if W&B cannot be reached.

        Args:
            arguments: The arguments of `wandb.init`.
        """
        try:
            # before the run opens: rows that are there now come from an earlier attempt
            first_line = self._lines_on_server(arguments)
            run = client.start_online_run(
                arguments,
                api_key=self._key.reveal(),
                base_url=self._settings.resolved_api_host,
                mode="shared" if self._settings.mode == "shared" else "online",
                timeout_s=min(self._settings.delivery_timeout_s, _INIT_TIMEOUT_S),
            )
        except Exception as error:  # noqa: BLE001 - wandb raises many kinds, and none may pass
            shown = task_redactor(self._key).text(str(error))
            logger.warning("W&B: cannot go online (%s); the run is spooled", shown)
            kill_service_at_exit()
            run = self._spooled.open(arguments)
            self.folder = self._spooled.folder
            return run
        self._is_online = True
        # once: wandb works it out from the local time, and the task may set another time zone
        self.folder = Path(run.settings.sync_dir)
        # at once: if the process is killed, a later delivery knows which rows are of this run
        DeliveryProgress(first_line=first_line, reason="not confirmed").save(self.folder)
        return run

    def to_config(self) -> dict[str, str]:
        """The URL of the offline store, as an entry for the `flyte` block of the run's config."""
        return self._end.to_config()

    def flush(self) -> None:
        """Write what the run has logged to disk now; needed only if the run is offline."""
        self._spooled.flush()

    def abandon(self) -> None:
        """Stop delivering, for a run that could not be opened."""
        self._spooled.abandon()

    def end(self, run: wandb.Run, outcome: TaskOutcome) -> None:
        """End the run, check on the server what arrived, and store the run if it is incomplete.

        Args:
            run: The run that `open` returned.
            outcome: The outcome of the task.
        """
        if not self._is_online:
            self._spooled.end(run, outcome)
            return
        # the copy on disk may lack rows that wandb has sent, so nothing is said of what it lacks
        tally = RunTally(exit_code=outcome.exit_code)
        try:
            reason = self._finish(run, outcome)
        except Exception as error:  # noqa: BLE001 - whatever it is, what is on disk is stored
            reason = str(error)
        if reason:
            kill_service_at_exit()
            _tell_rows_apart(self.folder)
        self._end.report(run, self.folder, reason, tally)

    def _finish(self, run: wandb.Run, outcome: TaskOutcome) -> str:
        """End the run; return why the server does not confirm it, or an empty text if it does."""
        timeout_s = self._settings.delivery_timeout_s
        began = time.monotonic()
        # with pending alerts even wandb's `finish_timeout` does not limit `finish`
        finished = self._end.finish(run, self.folder, outcome, timeout_s=timeout_s)
        if finished.problem:
            return finished.problem
        progress = DeliveryProgress.load(self.folder)
        # wandb sends alerts before it finishes, and the server offers no way to check them
        progress.alerts = list(range(len(read_content(self.folder).alerts)))
        progress.save(self.folder)
        # it only checks here: wandb itself has sent the rows
        delivery = RunDelivery(
            self.folder,
            api_host=self._settings.resolved_api_host,
            key=self._key,
            has_ended=lambda: True,
            until=lambda: min(began + timeout_s, terminating_until(began)),
            tally=lambda: tally_of(run, outcome),
        )
        return delivery.check()

    def _lines_on_server(self, arguments: Mapping[str, Any]) -> int:
        """Number of rows that the server has under this run id; raises if it does not answer."""
        target = RunTarget(
            entity=arguments.get("entity") or "",
            project=arguments.get("project") or "",
            # without an id wandb chooses a new one; the request then only tests the server
            run_id=arguments.get("id") or "none",
        )
        served = WandbApi(self._settings.resolved_api_host, self._key).find_run(target)
        return served.n_rows if served else 0


def _tell_rows_apart(folder: Path) -> None:
    """Have the rows found by their content, if some are too large: wandb has skipped these."""
    with suppress(WbmonError, OSError):
        if read_content(folder).oversized.n_rows:
            progress = DeliveryProgress.load(folder)
            progress.is_shared = True
            progress.save(folder)
            # in the log of an online run a step is what it is at the server
            (folder / STEPS).write_text("[0, true]\n")
