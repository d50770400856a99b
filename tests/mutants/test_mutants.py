"""The mutants themselves: what is put into a module, and that it is noticed or not."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.environment import ROOT, clean_environment
from tests.mutants.operators import mutants
from tests.mutants.page import Row, page
from tests.mutants.runner import SURVIVED, TIMED_OUT, UNTESTED

MODULE = '''
"""A module of which one formula is tested well, one half, and one not at all."""
from dataclasses import dataclass
from functools import cache

LIMIT = 10

@cache
def area(width, height=2):
    while width > 1000:
        width -= 1
    return width * height

def is_large(size):
    return size > LIMIT

@dataclass(frozen=True, slots=True)
class Box:
    depth: int = 3

    @property
    def volume(self):
        return self.depth * area(4)

def forgotten(x):
    return -x
'''
TESTS = """
from sample import Box, area, is_large

def test_the_area_of_a_rectangle():
    assert area(3) == 6
    assert area(1002) == 2000

def test_eleven_is_large_and_nine_is_not():
    assert is_large(11) and not is_large(9)

def test_the_volume_of_a_box():
    assert Box().volume == 24
"""
AREA, VOLUME = "test_the_area_of_a_rectangle", "test_the_volume_of_a_box"
TRY = """
import ast, json, sys
from pathlib import Path
import pytest
from tests.mutants.operators import mutants
from tests.mutants.runner import MutantRun, Subject

here = Path(sys.argv[1])
source, tests = here / "sample.py", here / "test_sample.py"
subject = Subject("sample", source, mutants(ast.parse(source.read_text())), [tests])

def keep(subject, results):
    (here / "results").write_text(json.dumps(results))

run = MutantRun([subject], here, jobs=2, patience=0.5, keep=keep)
sys.exit(pytest.main(["-q", "-s", f"--basetemp={here}/tests", str(tests)], plugins=[run]))
"""


def try_sample(folder: Path, tests: str) -> subprocess.CompletedProcess[bytes]:
    """Try every mutant of `MODULE` in a process of its own; results go to `folder`."""
    Path(folder, "sample.py").write_text("from __future__ import annotations\n" + MODULE)
    Path(folder, "test_sample.py").write_text(tests)
    Path(folder, "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    environment = clean_environment(home=folder / "home") | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", TRY, str(folder)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, str]:
    """What became of every mutant of `MODULE`."""
    folder = tmp_path_factory.mktemp("sample")
    done = try_sample(folder, TESTS)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return json.loads(Path(folder, "results").read_text())


def fate(results: dict[str, str], after: str) -> str:
    (found,) = (result for key, result in results.items() if key.endswith(f"-> `{after}`"))
    return found.removeprefix("test_sample.py::")


def test_a_fault_that_a_test_notices_is_put_down_to_that_test(results):
    assert fate(results, "return width / height") in (AREA, VOLUME)
    assert fate(results, "def area(width, height=3):") in (AREA, VOLUME)
    assert fate(results, "return size <= LIMIT") == "test_eleven_is_large_and_nine_is_not"
    assert fate(results, "LIMIT = 11") == "test_eleven_is_large_and_nine_is_not"
    assert fate(results, "return self.depth / area(4)") == VOLUME
    assert fate(results, "depth: int = 4") == VOLUME


def test_a_fault_that_no_test_notices_survives(results):
    assert fate(results, "return size >= LIMIT") == SURVIVED
    assert fate(results, "LIMIT = 9") == SURVIVED
    assert fate(results, "return +x") == UNTESTED


def test_a_fault_without_an_end_is_noticed(results):
    assert fate(results, "pass") == TIMED_OUT


def test_a_failure_without_a_mutant_ends_the_run(tmp_path):
    done = try_sample(tmp_path, TESTS.replace("== 24", "== 25"))
    assert done.returncode != 0
    assert b"test_the_volume_of_a_box fails without a mutant" in done.stdout + done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ("a < b", {"a <= b", "a >= b"}),
        ("a and b", {"a or b"}),
        ("not a", {"not not a"}),
        ("max(a, 0.5)", {"min(a, 0.5)", "max(a, 1.0)"}),
        ("a + True", {"a - True", "a + False"}),
        ("f(a, b=c)", {"f(a)"}),
        ("zip(a, b, strict=True)", set()),
        ("f'{a + 1}'", set()),
        ("a ** (-b)", {"a * -b", "a ** (+b)"}),
    ],
)
def test_the_faults_of_an_expression(source, faults):
    found = mutants(ast.parse(f"x = {source}"))
    assert {mutant.key for mutant in found} == {
        f"module: `x = {source}` -> `x = {fault}`" for fault in faults
    }


def test_what_describes_code_is_left_alone():
    text = "@d(1)\ndef f(a: T[1]) -> T[2]:\n    'doc'\n    raise E(1 + 1)\n"
    (only,) = mutants(ast.parse(text))
    assert only.key == "f: `raise E(1 + 1)` -> `pass`"


def test_two_faults_of_one_look_have_two_keys():
    keys = [mutant.key for mutant in mutants(ast.parse("x = a < 1\nx = a < 1"))]
    assert len(set(keys)) == len(keys) == 8


def test_the_page_counts_and_gives_reasons():
    found = [Row("f: `a` -> `b`", 3, SURVIVED), Row("g: `c` -> `d`", 4, "test"), Row("h", 5, None)]
    text = page({"stats/x.py": found}, {("stats/x.py", "f: `a` -> `b`"): "they are equal"})
    assert "| `stats/x.py` | 3 | 2 | 1 | 0 | 1 |  |" in text  # one is still to be tried
    assert "| `stats/x.py` | 2 | 2 | 1 | 0 | 1 | 50.0% |" in page({"stats/x.py": found[:2]}, {})
    assert "- f: `a` -> `b`: they are equal" in text
