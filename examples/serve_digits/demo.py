"""`make demo-serving`: serve an ordinary day and a faulty one, and check each the night after."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

from rich.console import Console

from examples.serve_digits.load import send
from flytekitplugins.wbmon.monitor.alerts.page import decision_section
from flytekitplugins.wbmon.monitor.drift.page import drift_section
from flytekitplugins.wbmon.monitor.performance.page import performance_section
from flytekitplugins.wbmon.monitor.service.page import serving_section, slo_section
from flytekitplugins.wbmon.reports.html import page

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "out" / "serving"
N_REQUESTS = int(os.environ.get("DEMO_REQUESTS", "1600"))
console = Console(width=100, highlight=False)


def main() -> int:
    """Two days of the same service: an ordinary one, and one on which a scanner breaks."""
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    # flytekit's local cache outlives the temporary files that it points to
    os.environ["FLYTE_LOCAL_CACHE_ENABLED"] = "false"
    _train()
    logging.getLogger("flytekitplugins.wbmon.run").setLevel(logging.ERROR)
    fired = [_day("an ordinary day", scanner_breaks=False)]
    shutil.rmtree(HOME / "log")
    fired.append(_day("the day the south scanner broke", scanner_breaks=True))
    console.print(f"\nThe reports, for a browser: {HOME}/*.html")
    console.print(
        "The W&B runs of the tracked tasks, kept on disk without a key: wandb/offline-run-*"
    )
    return 0 if fired == [False, True] else 1


def _day(title: str, *, scanner_breaks: bool) -> bool:
    console.print(f"\n[bold]=== {title}: {N_REQUESTS} images to a real server[/]")
    with _server() as url:
        counts = send(url, n=N_REQUESTS, scanner_breaks=scanner_breaks)
    console.print(f"answers by status: {dict(sorted(counts.items()))}")
    os.environ["WBMON_SHARED"] = str(HOME)
    from workflows.serving_nightly import serving_night

    night = serving_night(at=datetime.now(timezone.utc) + timedelta(days=1))
    for words in (
        f"serving      {night.serving.reason}",
        f"objectives   {night.objectives.reason}",
        f"drift        {night.drift.reason}",
        *(f"  {name:10} {words}" for name, words in sorted(night.tenants.items())),
        f"performance  {night.performance.reason}",
        f"decision     {night.decision.reason}",
    ):
        console.print(words, markup=False)
    sections = (
        decision_section(night.decision),
        serving_section(night.serving),
        slo_section(night.objectives),
        drift_section(night.drift),
        performance_section(night.performance),
    )
    name = "broken" if scanner_breaks else "ordinary"
    (HOME / f"{name}.html").write_text(page(title, *sections), encoding="utf-8")
    return bool(night.fired)


def _train() -> None:
    from workflows.digits import train_digits

    shutil.copyfile(str(train_digits()), HOME / "model.joblib")


@contextmanager
def _server() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "uvicorn", "examples.serve_digits.app:app",
        "--port", str(port), "--log-level", "warning", "--no-access-log",
    ]  # fmt: skip
    environment = {**os.environ, "SERVING_DIR": str(HOME)}
    with (HOME / "server.log").open("a", encoding="utf-8") as output:
        # S603: the command is the list above, nothing a user typed
        process = subprocess.Popen(  # noqa: S603
            command, cwd=ROOT, env=environment, stdout=output, stderr=output
        )
        try:
            _wait(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"the server did not begin to serve; see {HOME / 'server.log'}")


if __name__ == "__main__":
    sys.exit(main())
