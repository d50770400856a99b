"""What is imported is a declared requirement, so that nothing works only beside something else."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from support.environment import ROOT, SOURCE

PACKAGE = SOURCE / "flytekitplugins" / "wbmon"
FOLDERS = {
    "benchmarks",
    "examples",
    "flytekitplugins",
    "support",
    "tests",
    "versions",
    "workflows",
}
# the extras beside the requirements of every user; the first path that fits counts
EXTRAS = {
    PACKAGE / "llm": ["llm"],
    PACKAGE / "traces": ["llm"],
    PACKAGE / "monitor" / "llm": ["llm"],
    PACKAGE / "publish" / "dashboard.py": ["dashboard"],
    PACKAGE / "publish" / "alerts" / "send.py": ["notify"],
    PACKAGE / "serving" / "adapters" / "gradio.py": ["gradio"],
    PACKAGE / "privacy" / "presidio.py": ["presidio"],
    PACKAGE / "serving" / "adapters" / "streamlit.py": ["streamlit"],
    PACKAGE: [],
    **{path: ["demo", "llm"] for path in (ROOT / "workflows").glob("llm_*.py")},
    ROOT / "workflows": ["demo"],
    ROOT / "examples" / "serve_digits": ["demo", "serving"],
    ROOT / "examples" / "reviews" / "gradio_app.py": ["gradio"],
    ROOT / "examples" / "reviews" / "streamlit_app.py": ["streamlit"],
    ROOT / "benchmarks": ["dev", "llm"],
    ROOT / "tests": ["dev", "browser", "presidio", "llm"],
}
# installed by name in an environment of its own
ELSEWHERE = {
    ROOT / "tests" / "support" / "minilm.py": "the Makefile; an extra would bring torch",
    ROOT / "benchmarks" / "serving_apps.py": "benchmarks/serving.py",
}
# Python 3.10 does not find these
OTHER_NAMES = {"google": ["protobuf"], "sklearn": ["scikit-learn"], "tomllib": ["tomli"]}


def normalized(name: str) -> str:
    """The one spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


distributions = cache(importlib.metadata.packages_distributions)


@cache
def declared(*extras: str) -> set[str]:
    """The distributions that the package requires with these extras."""
    found = set()
    for line in importlib.metadata.requires("flytekitplugins-wbmon") or []:
        extra = re.search(r"""extra\s*==\s*['"]([\w-]+)['"]""", line)
        name = re.match(r"[\w.-]+", line)
        if name and (extra is None or extra[1] in extras):
            found.add(normalized(name[0]))
    return found


def without_type_checking(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree that run."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from without_type_checking(child)


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, by a statement or by a name that it spells out."""
    for node in without_type_checking(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith(("import_module", "importorskip", "find_spec"))
            and isinstance(node.args[0], ast.Constant)
        ):
            yield node.args[0].value


def undeclared(path: Path, extras: list[str]) -> set[str]:
    """The modules that a file imports and that none of its requirements holds."""
    requirements = declared(*extras)
    packages = {module.partition(".")[0] for module in imported(path)}
    return {
        package
        for package in packages - sys.stdlib_module_names - FOLDERS
        if not requirements & {normalized(name) for name in names_of(package)}
    }


def names_of(package: str) -> set[str]:
    """The distributions that may hold a package; most often there is one, of the same name."""
    installed = distributions().get(package, [])
    return {package, *installed, *OTHER_NAMES.get(package, [])}


def files() -> list[tuple[Path, list[str]]]:
    """Every Python file of the folders, with its extras."""
    found: dict[Path, list[str]] = {}
    for place, extras in EXTRAS.items():
        for path in [place] if place.suffix else sorted(place.rglob("*.py")):
            found.setdefault(path, extras)
    return [(path, extras) for path, extras in found.items() if path not in ELSEWHERE]


def test_the_places_with_extras_are_there() -> None:
    assert [place for place in (*EXTRAS, *ELSEWHERE) if not place.exists()] == []


def test_every_import_is_of_a_declared_requirement() -> None:
    found = {str(path.relative_to(ROOT)): undeclared(path, extras) for path, extras in files()}
    assert {path: names for path, names in found.items() if names} == {}
    assert len(found) > 300


def test_an_import_that_only_another_requirement_brings_is_found(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "def draw():\n    import boto3, yaml\n    from google.protobuf import struct_pb2"
    )
    assert undeclared(path, []) == {"boto3"}


def test_the_extra_that_an_error_names_is_the_one_of_its_file() -> None:
    told = {
        path: re.findall(r'extra="(\w+)"', path.read_text(encoding="utf-8"))
        for path in PACKAGE.rglob("*.py")
    }
    extras = dict(files())
    assert {path: names for path, names in told.items() if set(names) - set(extras[path])} == {}
    assert any(told.values())
