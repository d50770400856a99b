"""What a W&B run costs a task: nothing at all, raw wandb, the peer plugin, and ours.

Each variant is a no-op task in a process of its own, as in a pod, against a W&B server on the
loopback device; what it adds is the wall time of its process over that of the bare task, paired
within a round. `online` and the peer talk to the server in the task's process; ours writes a spool
and a process apart delivers it, and the time until W&B confirmed the delivery is included. The
cost of a log call is the median of 2000. With `--outage` the server accepts connections and never
answers; a process that is still there after the cap is ended.

python -m benchmarks.run_overhead
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.environment import clean_environment
from support.in_process import pod_context
from support.wandb_faults import Fault
from support.wandb_server import KEY, WandbServer

VARIANTS = ("bare", "wandb offline", "wandb online", "flytekitplugins-wandb", "ours")
FORMS = ("log(row)", "step=n", "commit=False", "in a thread", "in a fork", "in a spawned process")
N_LOGS = 2000
CAP_S = 60.0


def main() -> None:
    """Print a table: seconds added to the task, microseconds a log call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--outage", action="store_true")
    parser.add_argument("--forms", action="store_true")
    parser.add_argument("--one", nargs=4, metavar=("VARIANT", "URL", "LOGS", "FORM"))
    args = parser.parse_args()
    if args.one:
        variant, url, logs, form = args.one
        print(json.dumps(measure(variant, url, int(logs), form)))
        return
    with WandbServer() as server, tempfile.TemporaryDirectory() as folder:
        if args.forms:
            print_forms(server, Path(folder), args.rounds)
        elif args.outage:
            print_outage(server, Path(folder))
        else:
            print_overhead(server, Path(folder), args.rounds)


def print_overhead(server: WandbServer, folder: Path, rounds: int) -> None:
    """The table for a healthy server."""
    took: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for number in range(rounds + 1):
        for variant in VARIANTS if number % 2 else VARIANTS[::-1]:
            took[variant].append(run_apart(variant, server, folder, 0)[0])
    print("| variant | added to the task, s (median) | quartiles | one log call, us (median) |")
    print("|--|--|--|--|")
    bare = took["bare"][1:]  # the first round warms the disk
    for variant in VARIANTS[1:]:
        added = [one - base for one, base in zip(took[variant][1:], bare, strict=True)]
        low, middle, high = statistics.quantiles(added, n=4)
        _, log_us = run_apart(variant, server, folder, N_LOGS)
        print(f"| {variant} | {middle:.2f} | {low:.2f} to {high:.2f} | {log_us:.0f} |")


def print_outage(server: WandbServer, folder: Path) -> None:
    """The table for a server that never answers, with ours given five seconds."""
    server.fault = Fault("hang")
    bare, _ = run_apart("bare", server, folder, 0)
    print("| variant | added to the task while W&B hangs, s |")
    print("|--|--|")
    for variant in VARIANTS[1:]:
        seconds, _ = run_apart(variant, server, folder, 0)
        shown = f"over {CAP_S:g}, ended" if seconds >= CAP_S else f"{seconds - bare:.1f}"
        print(f"| {variant} | {shown} |")


def print_forms(server: WandbServer, folder: Path, rounds: int) -> None:
    """The table of the forms of a log call, as ratios to wandb in the same round."""
    print("| log call | ours, us | to wandb offline | to wandb online |")
    print("|--|--|--|--|")
    for form in FORMS:
        took: dict[str, list[float]] = {"wandb offline": [], "wandb online": [], "ours": []}
        for _ in range(rounds):
            for variant, costs in took.items():
                costs.append(run_apart(variant, server, folder, N_LOGS, form)[1])
        ours = took.pop("ours")
        ratios = [
            statistics.median(own / its for own, its in zip(ours, costs, strict=True))
            for costs in took.values()
        ]
        cells = " | ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"| {form} | {statistics.median(ours):.0f} | {cells} |", flush=True)


def run_apart(
    variant: str, server: WandbServer, folder: Path, logs: int, form: str = FORMS[0]
) -> tuple[float, float]:
    """Wall time of the variant's process in s, and the cost of a log call in us."""
    command = [sys.executable, "-m", "benchmarks.run_overhead", "--one", variant, server.url]
    environment = {**clean_environment(home=folder / "home"), "WANDB_SILENT": "true"}
    environment["WANDB_API_KEY"] = KEY
    began = time.monotonic()
    try:
        done = subprocess.run(
            [*command, str(logs), form],
            env=environment,
            capture_output=True,
            text=True,
            timeout=CAP_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return CAP_S, 0.0
    took = time.monotonic() - began
    failed_as_expected = server.fault is not None
    if done.returncode and not failed_as_expected:
        raise RuntimeError(done.stderr)
    return took, 0.0 if done.returncode else json.loads(done.stdout.splitlines()[-1])


def measure(variant: str, url: str, logs: int, form: str) -> float:
    """Run the variant's task in a pod's context; the median cost of a log call in us."""
    costs: list[float] = []

    def body(x: int) -> int:
        if logs and variant != "bare":
            costs.extend(log_in_form(form, logs))
        return x

    folder = Path(tempfile.mkdtemp())
    os.chdir(folder)
    with pod_context(folder / "pod", env={"_FSEC_WANDB_API_KEY": KEY}):
        decorated(variant, url, body)(1)
    return statistics.median(costs) * 1e6 if costs else 0.0


def log_in_form(form: str, logs: int) -> list[float]:
    """Log to the current run; what each call took in s."""
    import wandb

    if form in ("log(row)", "step=n", "commit=False"):
        return log_rows(wandb.run, form, logs)
    if form == "in a thread":
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(log_rows, wandb.run, form, logs).result()
    context = multiprocessing.get_context("fork" if form == "in a fork" else "spawn")
    with ProcessPoolExecutor(1, mp_context=context) as processes:
        return processes.submit(log_rows, wandb.run, form, logs).result()


def log_rows(run: Any, form: str, logs: int) -> list[float]:
    """Log rows to a run; what each call took in s."""
    run.log({"row": -1})  # a process of one's own connects with its first call
    costs = []
    for row in range(logs):
        how = {"step=n": {"step": row + 1}, "commit=False": {"commit": False}}.get(form, {})
        began = time.perf_counter()
        run.log({"row": row, "loss": 0.5}, **how)
        costs.append(time.perf_counter() - began)
    return costs


def decorated(variant: str, url: str, body: Callable[[int], int]) -> Callable[[int], int]:
    """The body as the variant tracks it."""
    from flytekit import Secret

    own = {"project": "p", "entity": "ops", "secret": Secret(group="wandb", key="api_key")}
    if variant == "ours":
        from flytekitplugins.wbmon import wandb_init

        return wandb_init(**own, api_host=url, delivery_timeout_s=5)(body)
    if variant == "flytekitplugins-wandb":
        from flytekitplugins.wandb import wandb_init as peer

        return peer(**own, api_host=url)(body)
    if variant == "bare":
        return body
    return raw(variant.removeprefix("wandb "), url, body)


def raw(mode: Any, url: str, body: Callable[[int], int]) -> Callable[[int], int]:
    """The body between `wandb.init` and `finish`."""
    import functools

    @functools.wraps(body)
    def with_run(x: int) -> int:
        import wandb

        settings = wandb.Settings(base_url=url, api_key=KEY)
        run = wandb.init(project="p", entity="ops", mode=mode, settings=settings)
        result = body(x)
        run.finish()
        return result

    return with_run


if __name__ == "__main__":
    main()
