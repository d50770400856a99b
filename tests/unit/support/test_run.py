"""The runner behind `make test`: whatever happens, its last line and its status tell the truth."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.environment import ROOT, clean_environment
from support.waiting import wait_until

# the second environment differs from the first by one module
PYTHON = """#!/bin/sh
PYTHONPATH='{packages}' exec '{python}' "$@"
"""
FINE = "def test_fine(): pass\n"
NEEDS_WEAVE = "import pytest\npytest.importorskip('weave_stand_in', reason='no weave')\n" + FINE
CLOSING = re.compile(r"(\d+) passed, (\d+) failed, (\d+) skipped")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with the runner, two environments and no tests."""
    root = tmp_path / "a project"
    (root / "tests").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "run.py", root / "tests")
    for name in ("outcomes", "results"):
        target = root / "tests" / "support" / f"{name}.py"
        target.parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "tests" / "support" / target.name, target)
    (root / "pytest.ini").write_text(
        "[pytest]\naddopts = --import-mode=importlib -p xdist\ntestpaths = tests\n"
    )
    packages = root / "packages"
    packages.mkdir()
    (packages / "weave_stand_in.py").touch()
    for environment, path in ((".venv", ""), (".venv-llm", str(packages))):
        python = root / environment / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(PYTHON.format(packages=path, python=sys.executable))
        python.chmod(0o755)
    return root


def started(project: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
    """The runner, as the leader of a process group as a terminal would start it."""
    return subprocess.Popen(
        [sys.executable, "tests/run.py", *arguments],
        cwd=project,
        env={
            **clean_environment(home=project / "home"),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            **env,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(project: Path, *arguments: str, **env: str) -> tuple[int, str]:
    """The runner's status and what it printed."""
    process = started(project, *arguments, **env)
    output, _ = process.communicate(timeout=120)
    return process.returncode, output


def closing(output: str) -> tuple[int, ...]:
    """The numbers of the last line, which stand nowhere else."""
    matches = [match for line in output.splitlines() if (match := CLOSING.fullmatch(line))]
    assert [match[0] for match in matches] == output.splitlines()[-1:], output
    return tuple(int(number) for number in matches[0].groups())


def verdict_of(done: tuple[int, str]) -> tuple[int, tuple[int, ...]]:
    return done[0], closing(done[1])


def write(project: Path, **files: str) -> None:
    for name, text in files.items():
        (project / "tests" / f"test_{name}.py").write_text(text)


def test_what_the_first_environment_skips_runs_in_the_second_and_nothing_runs_twice(
    project: Path,
) -> None:
    notes = "\ndef test_noted():\n    open('ran', 'a').write(__name__ + ' ')\n"
    inside = "import pytest\ndef test_late():\n    pytest.importorskip('weave_stand_in')\n"
    write(project, here=FINE + notes, there=NEEDS_WEAVE + notes, within=inside + FINE + notes)

    status, output = run(project)

    assert (status, closing(output)) == (0, (7, 0, 0)), output
    ran = (project / "ran").read_text().split()
    assert sorted(name.rpartition("test_")[2] for name in ran) == ["here", "there", "within"]


def test_what_no_environment_runs_is_skipped_and_told_with_its_reason(project: Path) -> None:
    mark = "import pytest\n@pytest.mark.skip(reason='{}')\ndef test_not(): pass\n"
    expected = "import pytest\n@pytest.mark.xfail(reason='the defect')\ndef test_x(): assert 0\n"
    write(project, a=FINE + mark.format("no moon"), b=mark.format("no moon"), c=expected)

    status, output = run(project)

    assert (status, closing(output)) == (0, (1, 0, 2)), output
    assert "skipped, 2:\n     2  no moon (" in output
    assert "failed as expected, 1:\n     1  the defect (tests/test_c.py::test_x)" in output


def test_a_file_that_only_the_first_environment_can_load_is_not_skipped_besides_its_test(
    project: Path,
) -> None:
    text = (
        "import importlib.util, pytest\nif importlib.util.find_spec('weave_stand_in'):\n"
        "    pytest.skip('no browser', "
    )
    skip = "\ndef test_not(): pytest.skip('there is no Chromium on this machine')\n"
    write(project, a=text + "allow_module_level=True)\n" + FINE + skip)
    assert verdict_of(run(project, CI="true")) == (0, (1, 0, 1))


def test_ci_allows_only_the_skips_that_are_named(project: Path) -> None:
    named = "import pytest\ndef test_named():\n    pytest.skip('{}')\n".format(
        "there is no Chromium on this machine"
    )
    write(project, fine=FINE, named=named)
    assert run(project, CI="true")[0] == 0

    write(project, other=named.replace("Chromium", "moon"))
    status, output = run(project, CI="true")
    assert (status, closing(output)) == (1, (1, 1, 1)), output
    assert "which CI does not allow: there is no moon" in output
    assert run(project, CI="false")[0] == 0


@pytest.mark.parametrize("environment", ["here", "there"])
def test_a_test_that_fails_fails_the_run(project: Path, environment: str) -> None:
    first = NEEDS_WEAVE if environment == "there" else FINE
    write(project, a=FINE, b=first + "def test_bad(): assert 0\n")
    assert verdict_of(run(project)) == (1, (2, 1, 0))


BROKEN = {
    "a syntax error": "def test_x(:\n",
    "an error of the module": "raise SystemError\n",
    "an error of a fixture": """
import pytest
@pytest.fixture
def bad(): assert 0
def test_x(bad): pass
""",
    "an error after the test": """
import pytest
@pytest.fixture
def bad():
    yield
    assert 0
def test_x(bad): pass
""",
    "the process ends in a test": "import os\ndef test_x(): os._exit(0)\n",
    "the process ends in collection": "import os\nos._exit(0)\n",
    "the process crashes": "import os\ndef test_x(): os.abort()\n",
    "Ctrl-C in a test": "import os\ndef test_x(): os.kill(os.getpid(), 2)\n",
    "a test ends pytest": "import pytest\ndef test_x(): pytest.exit('enough', returncode=0)\n",
    "a test ends Python": "import sys\ndef test_x(): sys.exit(0)\n",
    "a test kills pytest": "import os\ndef test_x(): os.kill(os.getppid(), 9)\n",
}
ALONE = ("-n", "0")


@pytest.mark.parametrize(
    ("fault", "where", "settings"),
    [
        *[(fault, "here", ()) for fault in BROKEN],
        *[(fault, "here", ALONE) for fault in [*BROKEN][4:-1]],
        ("a syntax error", "there", ()),
        ("the process ends in collection", "there", ()),
        ("the process crashes", "there", ()),
        ("a test kills pytest", "there", ()),
    ],
)
def test_a_run_that_breaks_is_never_called_well(
    project: Path, fault: str, where: str, settings: tuple[str, ...]
) -> None:
    write(project, a=FINE, b=(NEEDS_WEAVE if where == "there" else FINE) + BROKEN[fault])

    status, output = run(project, *settings)

    assert status == 1, output
    assert closing(output)[1] >= 1


@pytest.mark.parametrize(
    "hook", ["pytest_collection_modifyitems", "pytest_runtest_protocol", "pytest_sessionfinish"]
)
def test_an_error_of_pytest_itself_fails_the_run(project: Path, hook: str) -> None:
    write(project, a=FINE)
    (project / "conftest.py").write_text(f"def {hook}(): 1 / 0\n")
    assert verdict_of(run(project))[0] == 1


def test_ctrl_c_ends_the_run_as_failed(project: Path) -> None:
    write(
        project,
        a=FINE,
        b="import time\ndef test_x():\n    open('begun', 'w')\n    time.sleep(60)\n",
    )
    process = started(project)
    wait_until((project / "begun").exists)

    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 1, output
    assert closing(output)[1] >= 1


def test_a_runner_that_is_told_to_end_takes_pytest_with_it_and_says_nothing_of_success(
    project: Path,
) -> None:
    write(
        project,
        a="import os, time\ndef test_x():\n    open('begun', 'w').write(str(os.getpid()))\n"
        "    time.sleep(60)\n",
    )
    process = started(project)
    wait_until(lambda: (project / "begun").exists() and (project / "begun").read_text())

    process.terminate()
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 128 + signal.SIGTERM
    assert not CLOSING.search(output)


@pytest.mark.parametrize("arguments", [(), ("-k", "nothing_is_called_so"), ("--collect-only",)])
def test_a_run_without_tests_fails(project: Path, arguments: tuple[str, ...]) -> None:
    if "-k" in arguments:
        write(project, a=FINE, b=NEEDS_WEAVE)
    assert verdict_of(run(project, *arguments)) == (1, (0, 1, 0))


@pytest.mark.parametrize(
    ("arguments", "n_passed"),
    [
        (("-k", "fine and not other"), 2),
        (("tests/test_b.py",), 2),
        (("tests/test_b.py::test_fine",), 1),
        (("tests/test_a.py", "-k", "other"), 1),
    ],
)
def test_arguments_narrow_both_environments(
    project: Path, arguments: tuple[str, ...], n_passed: int
) -> None:
    other = "def test_other_fine(): pass\n"
    write(project, a=FINE + other, b=NEEDS_WEAVE + other)
    assert verdict_of(run(project, *arguments)) == (0, (n_passed, 0, 0))


def test_collecting_only_counts_what_both_environments_hold(project: Path) -> None:
    write(project, a=FINE, b=NEEDS_WEAVE)
    status, output = run(project, "--collect-only")
    assert (status, output.splitlines()[-1]) == (0, "2 collected"), output
    assert output.count("::test_fine") == 2


def test_unit_tests_and_doctests_come_last(request: pytest.FixtureRequest) -> None:
    files = [item.nodeid.partition("::")[0] for item in request.session.items]
    is_short = [not file.startswith("tests/") or file.startswith("tests/unit/") for file in files]
    assert is_short == sorted(is_short)
