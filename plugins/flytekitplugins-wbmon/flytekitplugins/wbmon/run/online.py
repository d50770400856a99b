"""W&B's own online mode, as far as it can be bounded, with the spool to fall back on.

For tasks that read from W&B (`use_artifact`), which an offline run cannot do. Logging a table while
the server is away still blocks the task for about twenty seconds and raises: that is W&B's.
"""

from __future__ import annotations

import logging
import threading
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
from flytekitplugins.wbmon.delivery.runs.transaction_log import log_path, wait_for_end
from flytekitplugins.wbmon.delivery.runs.wandb_internals import UnsupportedWandbError
from flytekitplugins.wbmon.flyte.identity import TaskIdentity
from flytekitplugins.wbmon.run import wandb_client as client
from flytekitplugins.wbmon.run.ended import END_TIMEOUT_S, RunEnd
from flytekitplugins.wbmon.run.settings import RunSettings
from flytekitplugins.wbmon.run.spooled import SpooledRun

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)

_INIT_TIMEOUT_S = 10.0


class OnlineRun:
    """Opens the run online if the server answers, and through the spool if not.

    Args:
        settings: The arguments of `wandb_init`.
        identity: What is running.
        key: The W&B key.
    """

    def __init__(self, settings: RunSettings, identity: TaskIdentity, key: ApiKey) -> None:
        self._settings = settings
        self._key = key
        self._end = RunEnd(settings, identity)
        self._spooled = SpooledRun(settings, identity, key)
        self._is_online = False

    def open(self, arguments: Mapping[str, Any]) -> wandb.Run:
        """Start the run online; offline if W&B cannot be reached."""
        try:
            first_line = self._lines_on_server(arguments)
            run = client.start_online_run(
                arguments,
                api_key=self._key.reveal(),
                base_url=self._settings.resolved_api_host,
                mode="shared" if self._settings.mode == "shared" else "online",
                timeout_s=min(self._settings.delivery_timeout_s, _INIT_TIMEOUT_S),
            )
        except Exception as error:  # noqa: BLE001 - wandb raises many kinds, and none may pass
            logger.warning("W&B: cannot go online (%s); the run is spooled", error)
            return self._spooled.open(arguments)
        self._is_online = True
        folder = Path(run.settings.sync_dir)
        DeliveryProgress(first_line=first_line, reason="not confirmed").save(folder)
        return run

    def to_config(self) -> dict[str, str]:
        """Where the run will be found if it cannot be delivered; for its `flyte` config block."""
        return self._end.to_config()

    def flush(self) -> None:
        """Bring what the run has logged to disk now; online wandb does so by itself."""
        self._spooled.flush()

    def abandon(self) -> None:
        """Give up delivering the run."""
        self._spooled.abandon()

    def end(self, run: wandb.Run, exit_code: int, *, is_terminating: bool = False) -> None:
        """End the run, ask the server for it as long as that may take, keep what is not confirmed.

        Args:
            run: What `open` returned.
            exit_code: 0 for success.
            is_terminating: The process was told to stop, and will be killed before long.
        """
        if not self._is_online:
            self._spooled.end(run, exit_code, is_terminating=is_terminating)
            return
        timeout_s = self._end.timeout_s(is_terminating=is_terminating)
        try:
            reason = self._finish(run, exit_code, timeout_s)
        except UnsupportedWandbError as error:
            reason = str(error)
        self._end.report(run, reason, timeout_s=timeout_s)

    def _finish(self, run: wandb.Run, exit_code: int, timeout_s: float) -> str:
        """End the run; why the server does not confirm it, empty if it does."""
        until = time.monotonic() + timeout_s
        # wandb's finish has no bound of its own
        finishing = threading.Thread(target=_finish, args=(run, exit_code), daemon=True)
        finishing.start()
        finishing.join(timeout_s)
        if finishing.is_alive():
            return f"W&B did not finish the run in {timeout_s:g} s"
        folder = Path(run.settings.sync_dir)
        wait_for_end(log_path(folder), END_TIMEOUT_S)
        progress = DeliveryProgress.load(folder)
        # wandb sent them before it finished; the server cannot be asked
        progress.alerts = list(range(len(read_content(folder).alerts)))
        progress.save(folder)
        delivery = RunDelivery(
            folder,
            api_host=self._settings.resolved_api_host,
            key=self._key,
            has_ended=lambda: True,
            until=lambda: until,
        )
        return delivery.check()

    def _lines_on_server(self, arguments: Mapping[str, Any]) -> int:
        """Rows that an earlier run of this id has; also tells whether the server answers."""
        target = RunTarget(
            entity=arguments.get("entity") or "",
            project=arguments.get("project") or "",
            run_id=arguments.get("id") or "none",
        )
        served = WandbApi(self._settings.resolved_api_host, self._key).find_run(target)
        return served.n_rows if served else 0


def _finish(run: wandb.Run, exit_code: int) -> None:
    """Finish in a thread that nobody may wait for; what failed, the server is asked about.

    A traceback that is printed while the interpreter ends makes Python abort the process.
    """
    with suppress(Exception):
        run.finish(exit_code=exit_code)
