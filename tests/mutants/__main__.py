"""Mutation testing of the code that computes and judges: `make mutants [PATHS="…"]`.

Results are kept in `.mutants/`. A mutant is tried again if the statement of the module in which it
is has changed, or the file of the test that noticed it; one that no test noticed, if any test of
its folder has. `docs/mutants.md` is written from what is known. A survivor must have its reason in
`reasons.txt` beside this file, in which every line is `module | mutant | reason`.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.mutants.operators import Mutant, mutants
from tests.mutants.page import Row, page
from tests.mutants.runner import SURVIVED, TIMED_OUT, UNTESTED, MutantRun, Subject

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "plugins/flytekitplugins-wbmon"
PACKAGE = SOURCE / "flytekitplugins/wbmon"
TESTS = ROOT / "tests"
PAGE = ROOT / "docs/mutants.md"
REASONS = Path(__file__).with_name("reasons.txt")
KEPT = ROOT / ".mutants"
JOBS = 2
SUBJECTS = (
    *(f"stats/{path.name}" for path in sorted((PACKAGE / "stats").glob("[!_]*.py"))),
    *(
        f"monitor/alerts/{name}.py"
        for name in ("conditions", "evaluate", "history", "notifications")
    ),
    *(
        f"monitor/drift/{name}.py"
        for name in (
            "check",
            "collapse",
            "compare_feature",
            "compare_values",
            "distances",
            "exact",
            "identifiers",
            "joint",
            "joint_split",
            "novelty",
            "past_windows",
            "series",
        )
    ),
    "monitor/llm/cost/budgets.py",
    "monitor/llm/evaluation/compare.py",
    "monitor/llm/feedback/analyze.py",
    *(
        f"monitor/performance/{name}.py"
        for name in (
            "check",
            "estimate",
            "estimate_regression",
            "importance",
            "meaning",
            "measure",
            "segments",
        )
    ),
    "monitor/scoring/confidence.py",
    *(f"monitor/service/{name}.py" for name in ("experiment", "slo", "summarize")),
)


def main(arguments: Sequence[str]) -> int:
    """Try what has no result yet, and say which mutants survive.

    Returns:
        0 if every survivor has a reason and every reason a survivor, else 1.
    """
    parser = ArgumentParser(prog="tests.mutants", description=__doc__)
    parser.add_argument("paths", nargs="*", help="beginnings of names such as stats/trend.py")
    parser.add_argument("--sample", type=int, default=10**6, help="so many of a module at most")
    options = parser.parse_args(arguments)
    prefixes = tuple(options.paths) or ("",)
    chosen = [name for name in SUBJECTS if name.startswith(prefixes)]
    if not chosen:
        parser.error(f"paths must begin a name such as {SUBJECTS[0]}, got {options.paths}")
    try_mutants(chosen, sample=options.sample)
    reasons = read_reasons()
    table = {name: rows(name) for name in SUBJECTS}
    problems = list(complaints({name: table[name] for name in chosen}, reasons))
    PAGE.write_text(page(table, reasons), encoding="utf-8")
    for name in chosen:
        survivors = sum(row.survived for row in table[name])
        print(f"{name}: {len(table[name])} mutants, {survivors} survive")
    print(*problems, sep="\n")
    return 1 if problems else 0


def tests_of(name: str) -> list[Path]:
    """The files whose tests have to notice a fault in a module."""
    folder = TESTS / "unit" / Path(name).parent
    return sorted([*folder.rglob("test_*.py"), *(TESTS / "reference").glob("test_*.py")])


def try_mutants(names: Sequence[str], *, sample: int) -> None:
    """Try the mutants that have no valid result, and keep the results."""
    subjects = []
    for name in names:
        known = {row.key for row in rows(name) if row.result}
        # evenly over the module, and the same in each run
        every = list(mutants_of(name).items())[:: len(mutants_of(name)) // sample + 1]
        missing = [mutant for key, mutant in every if key not in known]
        module = "flytekitplugins.wbmon." + name[:-3].replace("/", ".")
        if missing:
            subjects.append(Subject(module, PACKAGE / name, missing, tests_of(name)))
    if not subjects:
        return
    files = [*(subject.path for subject in subjects)]
    files += sorted({path for subject in subjects for path in subject.tests})
    with tempfile.TemporaryDirectory() as scratch:
        options = [
            *(
                "-q",
                "-s",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:xdist",
                "--hypothesis-profile=mutants",
            ),
            *(f"--basetemp={scratch}/tests", "-o", "tmp_path_retention_policy=none"),
        ]
        run = MutantRun(subjects, Path(scratch), jobs=JOBS, patience=2, keep=_keep)
        status = pytest.main([*options, *map(str, files)], plugins=[run])
    if status != pytest.ExitCode.OK:
        sys.exit(f"the tests do not run: pytest ended with {status!r}")


def rows(name: str) -> list[Row]:
    """Every mutant of a module, with its result as far as that still holds."""
    file = KEPT / f"{name.replace('/', '.')}.json"
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    found = []
    for mutant in mutants_of(name).values():
        result, *state = kept.get(mutant.key, (None,))
        holds = result is not None and state == _state(mutant, result, name)
        found.append(Row(mutant.key, min(mutant.lines), result if holds else None))
    return found


def complaints(
    table: Mapping[str, Iterable[Row]], reasons: Mapping[tuple[str, str], str]
) -> Iterable[str]:
    """What makes the run fail, in words."""
    for name, found in table.items():
        survivors = {row.key: row for row in found if row.survived}
        for key, row in survivors.items():
            if (name, key) not in reasons:
                yield f"{name}:{row.line}: survives ({row.result}): {key}"
        # what costs time only may be noticed by that on a slow machine
        slow = {row.key for row in found if row.result == TIMED_OUT}
        for module, key in reasons:
            if module == name and key not in survivors and key not in slow:
                yield f"{name}: has a reason and does not survive: {key}"


def read_reasons() -> dict[tuple[str, str], str]:
    """Why a survivor may survive, by module and mutant."""
    lines = REASONS.read_text(encoding="utf-8").splitlines() if REASONS.exists() else []
    parts = [line.split(" | ") for line in lines if line]
    return {(module, " | ".join(key)): reason for module, *key, reason in parts}


# as they are when the run begins, whoever edits them meanwhile
@cache
def mutants_of(name: str) -> dict[str, Mutant]:
    """The mutants of a module, by key."""
    tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
    return {mutant.key: mutant for mutant in mutants(tree)}


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _keep(subject: Subject, results: Mapping[str, str]) -> None:
    name = str(subject.path.relative_to(PACKAGE))
    found = mutants_of(name)
    valid = {row.key: row.result for row in rows(name) if row.result} | dict(results)
    kept = {key: [result, *_state(found[key], result, name)] for key, result in valid.items()}
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{name.replace('/', '.')}.json").write_text(json.dumps(kept, indent=0))
    print(f"{name}: {len(results)} tried", flush=True)


def _state(mutant: Mutant, result: str, name: str) -> list[str]:
    """What a result rests on: the statement, and the tests that could say something else."""
    unnoticed = result in (SURVIVED, TIMED_OUT, UNTESTED)
    files = tests_of(name) if unnoticed else [ROOT / result.split("::", maxsplit=1)[0]]
    text = "".join(map(_text, files))
    return [_digest(ast.dump(mutant.statement)), _digest(text)]


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # none may run in a fork
    settings.register_profile(
        "mutants",
        database=None,
        deadline=None,
        max_examples=25,  # where a test does not say how many
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),  # a failure is enough
        suppress_health_check=list(HealthCheck),
    )
    sys.exit(main(sys.argv[1:]))
