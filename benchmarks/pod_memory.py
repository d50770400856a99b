"""Memory of a pod: every process of a task's container, at its peak.

Each task runs as `pyflyte-execute` runs it, against a W&B server on the loopback device. The memory
of its processes is the sum of what is their own, and of the files that they have mapped (once, if
several have), read every 20 ms. Windows have 10,000 rows of ten columns. The tracked tasks
deliver their run: what runs beside the task is their W&B service, and the process that delivers,
with a service of its own. Medians of the rounds; what matters is the difference to the plain task.

python -m benchmarks.pod_memory
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
import pandas as pd
from flytekit.configuration import Image, ImageConfig, SerializationSettings
from flytekit.tools.translator import get_serializable
from flytekit.types.structured import StructuredDataset

from benchmarks import pod_memory_tasks
from flytekitplugins.wbmon import DriftReport
from flytekitplugins.wbmon.monitor.profiles.build import profile_data
from support.examples import drift_report
from support.literals import to_literals
from support.pod import Container, prepare_pod
from support.store import Store
from support.wandb_server import KEY, WandbServer

ROUNDS = 5
INTERVAL_S = 0.02
FILES_INTERVAL_S = 0.2
WORK_S = 3.0


def main() -> None:
    """Print a table: peak of each task, and what it is more than that of the plain one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--parts", action="store_true", help="print the processes at the peak")
    parser.add_argument("names", nargs="*", help="parts of the names of tasks")
    args = parser.parse_args()
    chosen = [
        name
        for name in pod_memory_tasks.TASKS
        if not args.names or any(part in name for part in args.names)
    ]
    peaks: dict[str, list[float]] = {name: [] for name in chosen}
    with WandbServer() as server, tempfile.TemporaryDirectory() as folder:
        values = inputs()
        for number in range(args.rounds):
            for name in chosen:
                container = pod_of(name, values, server, Path(folder) / f"{number}")
                parts = peak(container)
                peaks[name].append(sum(parts.values()))
                if args.parts:
                    print(name, {part: round(mib) for part, mib in parts.items()}, file=sys.stderr)
    plain = statistics.median(peaks[next(iter(peaks))])
    print("| task | peak of the pod, MiB | over the first |")
    print("|---|---|---|")
    for name, found in peaks.items():
        median = statistics.median(found)
        print(f"| {name} | {median:.0f} | {median - plain:+.0f} |")


def inputs() -> dict[str, dict[str, Any]]:
    """The inputs of each task by name."""
    rng = np.random.default_rng(7)
    n_rows = 10_000
    frame = pd.DataFrame({f"x{i}": rng.normal(size=n_rows) for i in range(7)})
    frame["amount"] = rng.normal(size=n_rows)
    frame["label"] = rng.integers(0, 2, n_rows)
    frame["prediction"] = frame["label"] ^ (rng.random(n_rows) < 0.1)
    reference = profile_data(frame)
    data = {"data": StructuredDataset(dataframe=frame)}
    return {
        "plain": {"seconds": WORK_S},
        "no_op": {"seconds": WORK_S},
        "profile": data,
        "tracked_profile": data,
        "drift": {"reference": reference, "current": profile_data(frame, like=reference)},
        "performance": data,
        "alert": {"drift": drift_report()},
        "score": data,
    }


def pod_of(
    name: str, values: dict[str, dict[str, Any]], server: WandbServer, disk: Path
) -> Container:
    """A pod of the task, ready to start."""
    image = Image("default", "example.com/image", "v1")
    settings = SerializationSettings(
        image_config=ImageConfig(default_image=image, images=[image]), version="v1"
    )
    task = pod_memory_tasks.TASKS[name]
    spec = get_serializable(OrderedDict(), settings, task).to_flyte_idl()
    short = task.name.rpartition(".")[2]
    code = disk / f"{short}-code"
    (code / "benchmarks").mkdir(parents=True)
    shutil.copy(str(pod_memory_tasks.__file__), code / "benchmarks")
    types = {"drift": DriftReport} if short == "alert" else None
    return prepare_pod(
        spec,
        to_literals(values[short], types),
        project=code,
        store=Store(str(disk / f"{short}-store")),
        disk=disk / short,
        env={"API_HOST": server.url},
        secrets={"wandb/api_key": KEY},
    )


def peak(container: Container) -> dict[str, float]:
    """The memory in MiB of each process of a pod, and of its files, when their sum was largest."""
    process = container.start()
    highest: dict[str, float] = {}
    files, last = 0.0, 0.0
    while process.poll() is None:
        pids = tree(process.pid)
        if time.monotonic() > last + FILES_INTERVAL_S:
            files, last = file_memory(pids), time.monotonic()
        now = {**own_memory(pids), "files": files}
        if sum(now.values()) > sum(highest.values()):
            highest = now
        time.sleep(INTERVAL_S)
    pod = container.collect(process)
    if not pod.succeeded:
        raise RuntimeError(pod.message + pod.log[-2000:])
    return highest


def own_memory(pids: Sequence[int]) -> dict[str, float]:
    """The memory in MiB of each process that no file holds, by number and command."""
    found, commands = {}, set()
    for pid in pids:
        with suppress(OSError, StopIteration):  # it ended
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            kib = int(next(line for line in lines if line.startswith("Anonymous:")).split()[1])
            command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
            # a child that runs no program of its own yet still has the memory of its parent
            if command not in commands:
                found[f"{pid} {command[:80]}"] = kib / 1024
            commands.add(command)
    return found


def file_memory(pids: Sequence[int]) -> float:
    """The memory in MiB of the files that processes have mapped, each part of a file once."""
    largest: dict[tuple[str, ...], int] = {}
    for pid in pids:
        with suppress(OSError):
            for part, kib in _file_parts(Path(f"/proc/{pid}/smaps").read_text()):
                largest[part] = max(kib, largest.get(part, 0))
    return sum(largest.values()) / 1024


def _file_parts(smaps: str) -> Iterator[tuple[tuple[str, ...], int]]:
    part: tuple[str, ...] = ()
    kib = 0
    for line in smaps.splitlines():
        name, *values = line.split()
        if not name.endswith(":"):
            # addresses, rights, offset, device, inode
            part = (values[1], values[3])
        elif name == "Rss:":
            kib = int(values[0])
        elif name == "Anonymous:" and part[1] != "0":
            yield part, kib - int(values[0])


def tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - three times as fast
        if entry.isdigit():
            with suppress(OSError):
                parent = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1]
                children.setdefault(int(parent), []).append(int(entry))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


if __name__ == "__main__":
    main()
