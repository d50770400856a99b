"""What it costs to be ready for a container's death: requests to the offline store, log calls.

A task logs for half a minute, ten rows a second or as many as it can, against a W&B server on the
loopback device that is healthy or refuses connections. Of the store the writes and their bytes are
counted that go there while the task is at work, and the seconds that its end takes; a log call is
compared with one of a task without a store.

python -m benchmarks.stored_steps
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import fsspec

from support.environment import clean_environment
from support.faulty_files import FaultyFiles
from support.wandb_faults import Fault
from support.wandb_server import KEY, WandbServer

WORK_S = 30.0
DELIVERY_S = 10.0
PROTOCOL = "counted"


class CountedFiles(FaultyFiles):
    """A disk behind a URL that counts what is written to it."""

    protocol = PROTOCOL
    writes: list[int] = []  # noqa: RUF012 - of all instances

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(str(path).removeprefix(f"{PROTOCOL}://"))

    def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        """Count and write a small file."""
        self.writes.append(len(value))
        super().pipe_file(path, value, **options)

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        """Count and write a copy of a local file."""
        self.writes.append(Path(lpath).stat().st_size)
        super().put_file(lpath, rpath, **options)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=3, metavar=("URL", "STORE", "PAUSE"))
    args = parser.parse_args()
    if args.one:
        url, store, pause = args.one
        print(json.dumps(measure(url, store, float(pause))))
        return
    print("| W&B | rows/s | writes/min | KB/min | end of the task, s | one log call, us (median) |")
    print("|--|--|--|--|--|--|")
    with WandbServer() as server, tempfile.TemporaryDirectory() as folder:
        for name, fault in (("healthy", None), ("down", Fault("refuse"))):
            server.fault = fault
            for pause in ("0.1", "0"):
                for store in ("", f"{PROTOCOL}://{folder}/store"):
                    found = run_apart(server.url, store, pause, Path(folder) / "home")
                    shown = "no store" if not store else f"{found['writes']:.0f}"
                    print(
                        f"| {name} | {found['rows']:.0f} | {shown} | {found['kb']:.0f} "
                        f"| {found['end_s']:.2f} | {found['log_us']:.0f} |"
                    )


def run_apart(url: str, store: str, pause: str, home: Path) -> dict[str, float]:
    """Measure in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.stored_steps", "--one", url, store, pause],
        env=clean_environment(home=home),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(url: str, store: str, pause_s: float) -> dict[str, float]:
    """Run the task; writes and kilobytes a minute, rows a second, and its other figures."""
    from flytekitplugins.wbmon import current_run, wandb_init

    fsspec.register_implementation(PROTOCOL, CountedFiles)
    costs: list[float] = []
    marks: list[tuple[float, int, int]] = []

    @wandb_init(
        project="p",
        entity="ops",
        api_host=url,
        secret=lambda: KEY,
        offline_store=store or None,
        delivery_timeout_s=DELIVERY_S,
    )
    def work() -> None:
        until = time.monotonic() + WORK_S
        while time.monotonic() < until:
            began = time.perf_counter()
            current_run().log({"row": len(costs), "loss": 0.5})
            costs.append(time.perf_counter() - began)
            time.sleep(pause_s)
        written = CountedFiles.writes
        marks.append((time.monotonic(), len(written), sum(written)))

    work()
    ended_at, n_writes, n_bytes = marks[0]
    return {
        "writes": n_writes * 60 / WORK_S,
        "kb": n_bytes * 60 / WORK_S / 1000,
        "rows": len(costs) / WORK_S,
        "end_s": time.monotonic() - ended_at,
        "log_us": statistics.median(costs) * 1e6,
    }


if __name__ == "__main__":
    main()
