"""What it costs to bring the log of an old wandb to disk: `run.log` with and without the flusher.

Both are offline runs of the installed wandb without its own flush every second, in turns in one
process; a log call is timed over 4000 calls of three values, at the pace of the caller.

python -m benchmarks.log_flush
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from flytekitplugins.wbmon.run import wandb_client as client
from flytekitplugins.wbmon.run.log_flusher import LogFlusher

N_CALLS = 4_000
ROUNDS = 7
# 0.31 has a setting for it, which is left at its own 15 s here; older releases have none
NEVER = {"settings": {"x_transaction_log_flush_interval": 900.0}}


def main() -> None:
    """Print microseconds a call, the ratio, and what the log has grown by."""
    costs: dict[bool, list[float]] = {False: [], True: []}
    sizes: dict[bool, list[int]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            for is_flushed in (False, True):
                cost, size = measure(folder, is_flushed=is_flushed)
                costs[is_flushed].append(cost)
                sizes[is_flushed].append(size)
    ratios = [after / before for before, after in zip(costs[False], costs[True], strict=True)]
    plain, flushed = (statistics.median(costs[each]) for each in (False, True))
    grown = statistics.median(sizes[True]) - statistics.median(sizes[False])
    print(f"without {plain:.0f} µs, with {flushed:.0f} µs a call (medians of {ROUNDS})")
    print(f"ratio {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")
    print(f"log larger by {grown / 1024:.0f} KiB for {N_CALLS} calls")


def measure(folder: str, *, is_flushed: bool) -> tuple[float, int]:
    """Microseconds a log call, and the size of the log."""
    run = client.start_offline_run({"project": "p", "entity": "e", "dir": folder, **NEVER})
    flusher = LogFlusher(run, every_s=client.FLUSH_EVERY_S) if is_flushed else None
    began = time.perf_counter()
    for row in range(N_CALLS):
        run.log({"row": row, "loss": 1 / (row + 1), "name": "a"})
    took = time.perf_counter() - began
    if flusher is not None:
        flusher.stop()
    run.finish()
    (log,) = Path(run.settings.sync_dir).glob("run-*.wandb")
    return took / N_CALLS * 1e6, log.stat().st_size


if __name__ == "__main__":
    main()
