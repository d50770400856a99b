"""One outage of W&B, and its end, without an account: a W&B server on this machine stands in.

python -m workflows.outage break
python -m workflows.outage mend
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from flytekit import task

from flytekitplugins.wbmon import SyncOfflineRuns, current_run, wandb_init

STORE = Path("out/offline").resolve()
# everything is on this machine, as the W&B is that stands in
STORE_URL = STORE.as_uri()
PORT = 8237
HOST = f"http://127.0.0.1:{PORT}"
KEY = "loopback" * 5

tracked = wandb_init(
    project="outage",
    entity="ops",
    secret=lambda: KEY,
    host=HOST,
    api_host=HOST,
    delivery_timeout_s=5,
    offline_store=STORE_URL,
)


@tracked
@task
def work(rows: int) -> int:
    """Log some rows and an alert."""
    run = current_run()
    if run is not None:
        for row in range(rows):
            run.log({"loss": 1 / (row + 1)})
        run.alert("drift", "the amount moved", level="WARN")
    return rows


sync = SyncOfflineRuns(
    "outage.sync", secret=None, host=HOST, api_host=HOST, offline_store=STORE_URL
)


def main() -> None:
    """Break or mend."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["break", "mend"])
    what = parser.parse_args().what
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from support.wandb_faults import Fault  # type: ignore[import-not-found]
    from support.wandb_server import WandbServer  # type: ignore[import-not-found]

    with WandbServer(PORT) as server:
        if what == "break":
            server.fault = Fault("hang")
            print(f"the task's result: {work(rows=100)}")
            return
        deliver()
        for run in server.runs:
            print(f"{run.id}: {len(run.history)} rows, {run.state}")
        print(f"{len(server.alerts)} alerts; left in {STORE}: {sorted(STORE.iterdir())}")


def deliver() -> None:
    """Run the node with the stand-in's key."""
    os.environ["WANDB_API_KEY"] = KEY
    done = sync()
    print(f"delivered: {done.delivered}; left: {done.left}")


if __name__ == "__main__":
    main()
