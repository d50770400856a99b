"""A short fuzz run with the same seeds each time; `make fuzz` runs longer, with others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.environment import ROOT, clean_environment
from tests.fuzz.cases import run_case
from tests.fuzz.runner import run_seeds

N_CASES = int(os.environ.get("FUZZ_CASES", "260"))
N_PARTS = 2


@pytest.mark.slow
@pytest.mark.parametrize("part", range(N_PARTS))
def test_random_calls_fail_only_as_promised(part: int) -> None:
    failures = run_seeds(range(part, N_CASES, N_PARTS))

    told = {failure.signature: failure for failure in failures}
    assert not failures, "\n".join(
        f"python -m tests.fuzz --seed {failure.seed}: {signature}\n{failure.story}"
        for signature, failure in told.items()
    )


def test_a_seed_makes_the_same_case_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--seed", "1"]

    environment = clean_environment(home=tmp_path)

    done = subprocess.run(
        command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True
    )

    failure = run_case(1)
    assert done.stdout.startswith(failure.signature if failure else "no failure"), done.stderr
