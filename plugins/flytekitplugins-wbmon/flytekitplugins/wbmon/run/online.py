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
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.runs.api import RunTarget, WandbApi
from flytekitplugins.wbmon.delivery.runs.deliver import RunDelivery
from flytekitplugins.wbmon.delivery.runs.pending_log import read_content
from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress
from flytekitplugins.wbmon.delivery.runs.transaction_log import log_path, wait_for_end
from flytekitplugins.wbmon.errors import PublishError
from flytekitplugins.wbmon.run import wandb_client as client
from flytekitplugins.wbmon.run.spooled import END_TIMEOUT_S, SpooledRun

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)

_INIT_TIMEOUT_S = 10.0


class OnlineRun(SpooledRun):
    """Opens the run online if the server answers, and through the spool if not."""

    _is_online = False

    def open(self, arguments: Mapping[str, Any]) -> wandb.Run:
        """Start the run online; offline if W&B cannot be reached."""
        if self._key is None:
            return super().open(arguments)
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
            return super().open(arguments)
        self._is_online = True
        self._note(run)
        DeliveryProgress(first_line=first_line, reason="not confirmed").save(self._folder)
        return run

    def _deliver(self, run: wandb.Run, exit_code: int, timeout_s: float) -> str:
        if not self._is_online or self._key is None:
            return super()._deliver(run, exit_code, timeout_s)
        until = time.monotonic() + timeout_s
        # wandb's finish has no bound of its own
        finishing = threading.Thread(target=_finish, args=(run, exit_code), daemon=True)
        finishing.start()
        finishing.join(timeout_s)
        if finishing.is_alive():
            return f"W&B did not finish the run in {timeout_s:g} s"
        wait_for_end(log_path(self._folder), END_TIMEOUT_S)
        progress = DeliveryProgress.load(self._folder)
        # wandb sent them before it finished; the server cannot be asked
        progress.alerts = list(range(len(read_content(self._folder).alerts)))
        progress.save(self._folder)
        delivery = RunDelivery(
            self._folder,
            api_host=self._settings.resolved_api_host,
            key=self._key,
            has_ended=lambda: True,
            until=lambda: until,
        )
        return delivery.check()

    def _lines_on_server(self, arguments: Mapping[str, Any]) -> int:
        """Rows that an earlier run of this id has; also tells whether the server answers."""
        if self._key is None:
            raise PublishError("an online run needs a W&B key, found none")
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
