"""`make demo`: four windows through `pyflyte run`, and where to look afterwards."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "out"
WINDOWS = {
    "an early window of the digits": ("nightly", "--window", "0", "digits-early"),
    "the last window of the digits": ("nightly", "--window", "5", "digits-late"),
    "a quiet night of payments": ("payments_night", "--kickoff", "2026-02-05", "payments-quiet"),
    "a faulty night of payments": ("payments_night", "--kickoff", "2026-02-13", "payments-faulty"),
}


def main() -> int:
    """Run every window; the exit code is that of the first run that failed."""
    OUT.mkdir(exist_ok=True)
    begun = time.monotonic()
    for words, (workflow, option, value, name) in WINDOWS.items():
        print(f"\n=== {words}: {workflow} {option} {value}", flush=True)
        code = _run(workflow, option, value, OUT / f"{name}.html")
        if code:
            return code
    print(f"\nDone in {time.monotonic() - begun:.0f} s.\n")
    print("The reports, for a browser:")
    for page in sorted(OUT.glob("*.html")):
        print(f"  {page.relative_to(ROOT)}")
    runs = sorted((ROOT / "wandb").glob("offline-run-*"))
    print(f"\nThe W&B runs of the tracked tasks ({len(runs)} offline, in wandb/):")
    print(f"  .venv/bin/wandb leet {runs[-1].relative_to(ROOT)}    # look at one in the terminal")
    print("  .venv/bin/wandb sync wandb/offline-run-*    # or send them to your W&B project")
    return 0


def _run(workflow: str, option: str, value: str, page: Path) -> int:
    command = [
        str(Path(sys.executable).with_name("pyflyte")),
        "run",
        "workflows/nightly_monitoring.py",
        workflow,
        option,
        value,
    ]
    # flytekit's local cache outlives the temporary files that it points to
    env = {**os.environ, "FLYTE_LOCAL_CACHE_ENABLED": "false"}
    # S603: the command is the list above, nothing a user typed
    done = subprocess.run(  # noqa: S603
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=False
    )
    print(done.stdout, flush=True)
    written = re.search(r"page='?([^',)\s]+report\.html)", done.stdout)
    if done.returncode == 0 and written:
        shutil.copyfile(written[1], page)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
