"""`make demo-llm`: the night of an LLM application, offline, with a stand-in for the model."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from workflows import llm_stand_in

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "out"


def main() -> int:
    """Run the workflow; the exit code is the workflow's."""
    OUT.mkdir(exist_ok=True)
    command = [str(Path(sys.executable).with_name("pyflyte")), "run"]
    command += ["workflows/llm_nightly.py", "llm_nightly"]
    environment = {**os.environ, "LLM_BASE_URL": llm_stand_in.start(slots=16)}
    # S603: the command is the list above, nothing a user typed
    done = subprocess.run(  # noqa: S603
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    # without what pyflyte says of itself
    said = re.sub(
        r"^(Running Execution on|WindowSummary\().*\n?", "", done.stdout, flags=re.MULTILINE
    )
    print(said.strip("\n"), end="\n\n", flush=True)
    written = re.search(r"page='?([^',)\s]+report\.html)", done.stdout)
    if done.returncode == 0 and written:
        shutil.copyfile(written[1], OUT / "llm-nightly.html")
        print(f"Report:  {(OUT / 'llm-nightly.html').relative_to(ROOT)}")
        print("Traces:  wandb/weave/ (of the evaluation; sent at once where there is a W&B key)")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
