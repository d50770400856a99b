"""The smoke test over old and new releases: `python -m tests.versions.matrix [ROW …]`.

Each row is an environment of its own, made in a temporary folder and removed. Without arguments
every row is run and the table in `docs/versions.md` is written anew.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import requires
from pathlib import Path
from xml.etree import ElementTree as ET

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "versions.md"
BEGIN, END = "<!-- made by make matrix -->", "<!-- end -->"
PACKAGES = ("flytekit", "wandb", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy")
LLM_PACKAGES = ("weave", "openai")
SMOKE = "tests/versions/test_smoke.py"
LLM_SMOKE = "tests/versions/test_weave_smoke.py"
PYTHONS = ("3.10", "3.11", "3.12")
MIDDLE = {
    "flytekit": "1.15.4",
    "wandb": "0.27.2",
    "numpy": "2.0.2",
    "pandas": "2.2.3",
    "pyarrow": "20.0.0",
    "scikit-learn": "1.5.2",
    "scipy": "1.13.1",
}
# the last release of each line between the ends
WANDB = ("0.24.2", "0.25.1", "0.26.1", "0.27.2", "0.28.2", "0.29.0", "0.30.0")
FLYTEKIT = ("1.13.15", "1.14.9", "1.15.4", "1.16.16")
WEAVE = ("0.52.29", "0.52.43", "0.53.7", "0.53.13")
_UV = Path(sys.executable).parent / "uv"
# found before the tests get a home of their own; most of an environment is in it already
_CACHE = os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv")
_INSTALL_S = 600
_SMOKE_S = 900
_AT_ONCE = 2


@dataclass(frozen=True)
class Row:
    """One environment.

    Attributes:
        name: What it stands for.
        python: Its Python, such as `3.11`.
        pins: Versions by package; what is not pinned is the newest that fits.
        is_oldest: Whether what the package asks for itself is the oldest that it declares and that
            can be installed without a compiler.
        extra: The extra of the package that is installed too.
        smoke: The test that is run.
    """

    name: str
    python: str
    pins: Mapping[str, str] = field(default_factory=dict)
    is_oldest: bool = False
    extra: str = ""
    smoke: str = SMOKE


@dataclass(frozen=True)
class Outcome:
    """What became of a row.

    Attributes:
        row: The row.
        versions: Of the packages that were there.
        passed: Names of the checks that passed.
        failed: Names of those that did not; `install` if the environment could not be made.
    """

    row: Row
    versions: Mapping[str, str]
    passed: tuple[str, ...]
    failed: tuple[str, ...]
    output: str = ""


def declared_bounds(extra: str = "") -> dict[str, str]:
    """The oldest version that the package, or an extra of it, declares; by package."""
    bounds = {}
    for requirement in map(Requirement, requires("flytekitplugins-wbmon") or ()):
        marker = requirement.marker
        is_asked = marker.evaluate({"extra": extra}) if marker and extra else marker is None
        lowest = [each.version for each in requirement.specifier if each.operator == ">="]
        if is_asked and lowest:
            bounds[requirement.name] = lowest[0]
    return bounds


def rows(pythons: Sequence[str]) -> tuple[Row, ...]:
    """Every row: the ends of the range with each Python, the middle, each vendor's own releases.

    Args:
        pythons: Such as `3.11`, oldest first.
    """
    between = pythons[len(pythons) // 2]
    return (
        *(Row("oldest", python, is_oldest=True) for python in pythons),
        Row("middle", between, MIDDLE),
        *(Row("newest", python) for python in pythons),
        *(Row(f"wandb {release}", between, {"wandb": release}) for release in WANDB),
        *(Row(f"flytekit {release}", between, {"flytekit": release}) for release in FLYTEKIT),
        Row("oldest", pythons[0], is_oldest=True, extra="llm", smoke=LLM_SMOKE),
        *(
            Row(f"weave {one}", between, {"weave": one}, extra="llm", smoke=LLM_SMOKE)
            for one in WEAVE
        ),
        Row("newest", pythons[-1], extra="llm", smoke=LLM_SMOKE),
    )


def find_python(version: str) -> str | None:
    """The interpreter of a version: on the PATH, this one, or one that pyenv keeps."""
    own = sys.executable if version == ".".join(map(str, sys.version_info[:2])) else None
    found = [shutil.which(f"python{version}"), own, *map(str, _kept_by_pyenv(version))]
    return next((path for path in found if path is not None and _runs(path)), None)


def _kept_by_pyenv(version: str) -> Iterator[Path]:
    for folder in map(Path, os.environ.get("PATH", "").split(os.pathsep)):
        if folder.name == "shims":
            yield from sorted(folder.parent.glob(f"versions/{version}.*/bin/python"))


def _runs(path: str) -> bool:
    return subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0


def run_row(row: Row) -> Outcome:
    """Make the environment, run the smoke in it, and remove it."""
    with tempfile.TemporaryDirectory(prefix="matrix-") as name:
        folder = Path(name)
        made = _install(row, folder / "env")
        if made.returncode != 0:
            return Outcome(row, row.pins, (), ("install",), made.stdout)
        python = folder / "env" / "bin" / "python"
        report = folder / "report.xml"
        done = subprocess.run(
            [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}",
             f"--basetemp={folder / 'tmp'}", row.smoke],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SMOKE_S,
        )  # fmt: skip
        passed, failed = _read_report(report)
        if done.returncode != 0 and not failed:
            failed = ("the test run itself",)
        return Outcome(row, _versions(python), passed, failed, done.stdout + done.stderr)


def _install(row: Row, env: Path) -> subprocess.CompletedProcess[str]:
    python = find_python(row.python)
    if python is None:
        return subprocess.CompletedProcess([], 1, f"there is no Python {row.python}")
    wanted = [f"{ROOT}[{row.extra}]" if row.extra else str(ROOT), "pytest>=9"]
    wanted += [f"{name}=={version}" for name, version in row.pins.items()]
    if row.is_oldest:
        wanted += ["--resolution=lowest-direct", *(f"--only-binary={name}" for name in PACKAGES)]
    commands = (
        [_UV, "venv", "--quiet", "--python", python, env],
        [_UV, "pip", "install", "--quiet", "--python", env / "bin" / "python", *wanted],
    )
    for command in commands:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=_INSTALL_S,
            env={**os.environ, "UV_SYSTEM_CERTS": "true", "UV_CACHE_DIR": _CACHE},
        )  # fmt: skip
        if done.returncode != 0:
            break
    return done


def _read_report(report: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the checks that passed, and of those that failed or were skipped."""
    if not report.exists():
        return (), ()
    passed, failed = [], []
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - our own file
        (failed if len(case) else passed).append(case.get("name", "").removeprefix("test_"))
    return tuple(passed), tuple(failed)


def _versions(python: Path) -> dict[str, str]:
    listed = subprocess.run(
        [_UV, "pip", "list", "--quiet", "--python", python, "--format", "freeze"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    installed = dict(re.findall(r"^([\w.-]+)==(\S+)$", listed, re.MULTILINE))
    return {name: installed[name] for name in (*PACKAGES, *LLM_PACKAGES) if name in installed}


def to_markdown(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as tables: the core, and what the `llm` extra adds."""
    core = [one for one in outcomes if not one.row.extra]
    llm = [one for one in outcomes if one.row.extra]
    tables = [_table(core, PACKAGES)]
    if llm:
        tables.append(_table(llm, (*LLM_PACKAGES, "wandb", "flytekit")))
    return "\n\n".join(tables)


def _table(outcomes: Sequence[Outcome], packages: Sequence[str]) -> str:
    head = ["", "Python", *packages, "checks"]
    lines = [head, ["---"] * len(head)]
    for one in outcomes:
        versions = [one.versions.get(name, "") for name in packages]
        lines.append([one.row.name, one.row.python, *versions, _verdict(one)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _verdict(outcome: Outcome) -> str:
    n = len(outcome.passed) + len(outcome.failed)
    if not outcome.failed:
        return f"{n} of {n}"
    return f"{len(outcome.passed)} of {n}; not: {', '.join(outcome.failed)}"


def write_page(tables: str) -> None:
    """Put the tables in the place that the page keeps for them."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{tables}\n{END}{after}")


def main(names: Sequence[str]) -> int:
    """Run the rows of these names, or all."""
    pythons = [version for version in PYTHONS if find_python(version)]
    chosen = [row for row in rows(pythons) if not names or row.name in names]
    outcomes = []
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for outcome in threads.map(run_row, chosen):
            row = outcome.row
            print(f"{row.name}, Python {row.python}: {_verdict(outcome)}", flush=True)  # noqa: T201
            if outcome.failed:
                print(outcome.output, flush=True)  # noqa: T201 - what it is for
            outcomes.append(outcome)
    if not names:
        write_page(to_markdown(outcomes))
    return int(not outcomes or any(one.failed for one in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
