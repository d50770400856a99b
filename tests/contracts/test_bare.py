"""`make test` needs Python, make and the package index, and nothing that an earlier call left."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.environment import ROOT

GIT = shutil.which("git")
MAKE = shutil.which("make") or "make"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(GIT is None, reason="git is not installed"),
]


def files_of_the_repository(scratch: Path) -> list[str]:
    """The files that are not ignored, new ones too, also where there is no clone but a copy.

    The index is an empty one of our own: git refuses that of a clone that belongs to somebody else.
    """
    git = [GIT, f"--git-dir={scratch}", f"--work-tree={ROOT}"]
    subprocess.run([GIT, "init", "--quiet", "--bare", scratch], check=True)
    listing = [*git, "ls-files", "--others", "--exclude-standard", "-z"]
    return subprocess.check_output(listing, cwd=ROOT, text=True).split("\0")[:-1]


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Path]:
    """A copy of the repository's files in an empty folder; what is built in it is removed."""
    root = tmp_path / "a copy"
    for name in files_of_the_repository(tmp_path / "index.git"):
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    yield root
    # two environments and what uv kept of them: gigabytes
    subprocess.run(["/bin/rm", "-rf", root, tmp_path / "home"], check=True)


def making(target: str, *options: str, root: Path, home: Path) -> subprocess.Popen[str]:
    """A make target with a home that holds nothing of ours, and no other variable."""
    home.mkdir(exist_ok=True)
    return subprocess.Popen(
        [MAKE, target, *options],
        cwd=root,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_an_empty_folder_and_an_empty_home_collect_the_same_tests_and_run_the_demo(
    copy: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    home = tmp_path / "home"
    # in one process: every further one collects once more
    with making("test", "PYTEST_ARGS=--collect-only -n 0", root=copy, home=home) as collecting:
        output = collecting.communicate(timeout=580)[0]

    assert collecting.returncode == 0, output
    found = [line for line in output.splitlines() if "::" in line]
    assert len(set(found)) == len(found) > 0
    # all of them, or those that this run was asked for
    assert {item.nodeid for item in request.session.items} <= set(found)

    with making("demo", root=copy, home=home) as demo:
        output = demo.communicate(timeout=580)[0]
    assert demo.returncode == 0, output
    assert "Digits: decision." in output
