"""What a container pays for importing the package, over `import flytekit` alone.

python -m benchmarks.import_cost
"""

from __future__ import annotations

import statistics
import subprocess
import sys

ROUNDS = 7
PROGRAM = """
import time
import flytekit
begin = time.perf_counter()
{code}
print((time.perf_counter() - begin) * 1000)
"""
CASES = {
    "the package": "import flytekitplugins.wbmon",
    "`wandb_init`": "from flytekitplugins.wbmon import wandb_init",
    "all nodes": "from flytekitplugins.wbmon import (batch_scoring, ProfileData, DriftCheck, "
    "PerformanceCheck, DegradationAlert, wandb_init)",
    "wandb, for comparison": "import wandb",
    "scipy.stats, for comparison": "import scipy.stats",
}


def measure(code: str) -> float:
    """Milliseconds over `import flytekit`, in a fresh process."""
    program = PROGRAM.format(code=code)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> None:
    """Print the median of each case, the rounds of all cases interleaved."""
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(ROUNDS):
        for name, code in CASES.items():
            times[name].append(measure(code))
    print("| import, after `import flytekit` | median ms | min | max |")
    print("|---|---|---|---|")
    for name, found in times.items():
        print(f"| {name} | {statistics.median(found):.1f} | {min(found):.1f} | {max(found):.1f} |")


if __name__ == "__main__":
    main()
