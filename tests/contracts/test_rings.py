"""Who may import whom: the floors of the package, top to bottom."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.environment import BIN, ROOT, SOURCE, clean_environment

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = SOURCE / "flytekitplugins" / "wbmon"
PURE = (
    "equality",
    "errors",
    "arguments",
    "context",
    "stats",
    "data",
    "reports",
    "privacy",
    "storage",
    "monitor",
)
PLATFORMS = {"flytekit", "flyteidl", "wandb", "weave"}
ARRAYS = {"numpy", "pandas", "pyarrow", "scipy", "sklearn"}


def modules_of(*floors: str) -> list[Path]:
    return [
        path
        for floor in floors
        for path in sorted([*PACKAGE.glob(f"{floor}.py"), *(PACKAGE / floor).rglob("*.py")])
    ]


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imported(tree: ast.AST) -> Iterator[str]:
    """The packages that any import statement below the tree names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def at_module_level(path: Path) -> set[str]:
    """The packages imported when the module is, `if TYPE_CHECKING:` left out."""
    statements = ast.parse(path.read_text(encoding="utf-8")).body
    plain = [node for node in statements if isinstance(node, (ast.Import, ast.ImportFrom))]
    return {name for node in plain for name in imported(node)}


def test_the_import_contracts_hold(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(BIN / "lint-imports"),
            "--config",
            str(ROOT / "pyproject.toml"),
            "--no-cache",
        ],
        cwd=SOURCE,
        env=clean_environment(home=tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_folder_of_the_package_is_on_a_floor() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = "|".join(settings["tool"]["importlinter"]["contracts"][0]["layers"])
    floors = {name.strip("() ").rpartition(".")[2] for name in layers.split("|")}

    assert {path.parent.name for path in PACKAGE.glob("*/*.py")} <= floors


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    lengths = {
        name_of(path): path.read_text(encoding="utf-8").count("\n")
        for path in PACKAGE.rglob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length > 400} == {}


@pytest.mark.parametrize("path", modules_of(*PURE), ids=name_of)
def test_a_pure_module_never_imports_a_platform_even_inside_a_function(path: Path) -> None:
    assert set(imported(ast.parse(path.read_text(encoding="utf-8")))) & PLATFORMS == set()


@pytest.mark.parametrize(
    "path", [*modules_of("errors", "reports"), *PACKAGE.glob("monitor/**/*report.py")], ids=name_of
)
def test_a_report_loads_without_numpy(path: Path) -> None:
    assert at_module_level(path) & ARRAYS == set()


@pytest.mark.parametrize(
    "path",
    modules_of(
        "delivery",
        "flyte",
        "llm",
        "privacy",
        "publish",
        "run",
        "serving",
        "storage",
        "tasks",
        "traces",
    ),
    ids=name_of,
)
def test_what_a_pod_loads_imports_heavy_libraries_inside_functions(path: Path) -> None:
    assert at_module_level(path) & (ARRAYS | {"wandb", "weave"}) == set()


def imported_modules(path: Path) -> Iterator[str]:
    """The modules that a file imports when it runs, wherever in the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body.clear()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_one_module_knows_what_flytekit_keeps_to_itself() -> None:
    # `flytekit.core.type_engine` is where flytekit's manual takes the type transformers from
    public = {"flytekit.core.type_engine"}
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(name.startswith("flytekit.core") for name in set(imported_modules(path)) - public)
    }
    assert users == {"flyte/internals.py"}


def test_every_module_says_why_it_exists() -> None:
    silent = [
        path.name
        for path in PACKAGE.rglob("*.py")
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []
