"""Runs the cases of many seeds in processes apart: one that a library kills is a failure, too."""

from __future__ import annotations

import faulthandler
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable

from support.environment import ROOT
from tests.fuzz.cases import Failure, run_case

AT_ONCE = 500
# longer than any case takes
STUCK_S = 60


def run_seeds(seeds: Iterable[int]) -> list[Failure]:
    """The failures of these seeds, in processes that may be killed."""
    left, failures = list(seeds), []
    while left:
        done, found = _in_child(left[:AT_ONCE])
        failures += found
        left = left[done:]
    return failures


def _in_child(seeds: list[int]) -> tuple[int, list[Failure]]:
    """How many of the seeds are done with, and the failures."""
    command = [sys.executable, "-m", "tests.fuzz", "--child"]
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.run(
            command,
            check=False,
            cwd=ROOT,
            input=json.dumps(seeds),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        errors.seek(0)
        trace = errors.read()[-8000:]
    lines = [json.loads(line) for line in child.stdout.splitlines() if line.endswith("]")]
    failures = [Failure(*line) for line in lines if len(line) > 1]
    begun = [line[0] for line in lines if len(line) == 1]
    if child.returncode:
        seed = begun[-1] if begun else seeds[0]
        failures.append(Failure(seed, "?", f"the process ended with {child.returncode}", trace))
    return max(len(begun), 1), failures


def run_child() -> None:
    """Run the seeds that stdin names; stdout gets each seed, and each failure."""
    # what a library prints must not stand between the lines
    faulthandler.enable()
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for seed in json.load(sys.stdin):
        faulthandler.dump_traceback_later(STUCK_S, exit=True)
        out.write(f"[{seed}]\n")
        failure = run_case(seed)
        if failure is not None:
            out.write(json.dumps(failure) + "\n")
