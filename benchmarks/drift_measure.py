"""A whole Python process, measured: start, imports, work, end."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "plugins" / "flytekitplugins-wbmon"
FOLDER = Path(os.environ.get("WBMON_BENCH_DIR", "/tmp/wbmon-bench"))  # noqa: S108 - big and temporary


@dataclass(frozen=True)
class Cost:
    """What a process cost: seconds of the wall clock, of all cores, and peak memory."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    output: str

    def __str__(self) -> str:
        return f"{self.wall_s:.2f} s / {self.cpu_s:.2f} s / {self.peak_mib:.0f} MiB"


def run(program: str, *arguments: object, python: str = sys.executable) -> Cost:
    """Run a program text in a fresh interpreter with the package on its path.

    Raises:
        RuntimeError: If it fails; with the end of what it said.
    """
    environment = {**os.environ, "PYTHONPATH": f"{PACKAGE}:{ROOT}"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [python, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )
    said, complained = process.communicate()
    wall = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"a measured program failed: {complained[-2000:]}")
    cpu, peak, output = said.rstrip("\n").rpartition("\n")[2].split(" ", 2)
    return Cost(wall, float(cpu), float(peak) / 1024, output)


FOOTER = """
import resource
_used = resource.getrusage(resource.RUSAGE_SELF)
_peak = open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]
print(f"{_used.ru_utime + _used.ru_stime} {_peak} {result}")
"""
"""What a measured program must end with; `result` is what it wants to say in one line.

The peak is read from the kernel's page: `ru_maxrss` begins with the parent's."""


def interleaved(
    programs: Mapping[str, tuple[str, Sequence[object]]],
    *,
    rounds: int,
    python: str = sys.executable,
) -> dict[str, Cost]:
    """Medians over rounds in which every program runs once, so that all share a machine's mood."""
    costs: dict[str, list[Cost]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, (program, arguments) in programs.items():
            costs[name].append(run(program + FOOTER, *arguments, python=python))
    return {name: _median(found) for name, found in costs.items()}


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.wall_s for cost in costs),
        statistics.median(cost.cpu_s for cost in costs),
        statistics.median(cost.peak_mib for cost in costs),
        costs[-1].output,
    )
