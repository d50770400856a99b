"""Compile a project as `pyflyte package` does, and read what it wrote."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

from flyteidl.admin.launch_plan_pb2 import LaunchPlan
from flyteidl.admin.task_pb2 import TaskSpec
from flyteidl.admin.workflow_pb2 import WorkflowSpec
from flytekit.configuration import Image, ImageConfig, SerializationSettings

from support.environment import BIN, ROOT, clean_environment

Entity = TypeVar("Entity", TaskSpec, WorkflowSpec, LaunchPlan)
# for what is compiled in this process
SETTINGS = SerializationSettings(
    image_config=ImageConfig(default_image=Image("name", "image", "tag")), version="v1"
)


class PackagingError(AssertionError):
    """`pyflyte package` refused the project; the message is its output."""


@dataclass(frozen=True)
class Package:
    """What a cluster registers: the compiled entities of a project, by name.

    Attributes:
        tasks: The tasks.
        workflows: The workflows.
        launch_plans: The launch plans, the default ones too.
        ambiguous: Names that two different entities of one kind have, of which one is above.
    """

    tasks: dict[str, TaskSpec] = field(default_factory=dict)
    workflows: dict[str, WorkflowSpec] = field(default_factory=dict)
    launch_plans: dict[str, LaunchPlan] = field(default_factory=dict)
    ambiguous: set[str] = field(default_factory=set)


def package(
    project: Path,
    modules: Sequence[str],
    *,
    archive: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Path:
    """Compile the modules of a project in a fresh process, without a cluster or docker.

    Args:
        project: The folder the modules are imported from.
        modules: The modules (or packages) to compile.
        archive: Where to write; a new temporary file by default.
        env: Added to the environment of the process.

    Returns:
        The archive's path, for `load_package`.

    Raises:
        PackagingError: If `pyflyte package` fails.
    """
    archive = archive or Path(mkdtemp(prefix="package-")) / "package.tgz"
    names = [argument for module in modules for argument in ("--pkgs", module)]
    options = ["--image", "local/none:dev", "--output", str(archive), "--force"]
    done = subprocess.run(
        [sys.executable, str(BIN / "pyflyte"), *names, "package", *options],
        cwd=project,
        env={**clean_environment(home=archive.parent), **(env or {})},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    if done.returncode or not archive.exists():
        raise PackagingError(done.stdout + done.stderr)
    return archive


def workflows_image(folder: Path, module: str, *, but: tuple[str, str]) -> Path:
    """The workflows as a user would copy them, with one change in one module.

    Args:
        folder: Where the copy goes.
        module: The module's name below `workflows`.
        but: What stands there, and what is to stand there.
    """
    shutil.copytree(
        ROOT / "workflows", folder / "workflows", ignore=shutil.ignore_patterns("__pycache__")
    )
    file = folder / "workflows" / f"{module}.py"
    source = file.read_text(encoding="utf-8")
    assert but[0] in source
    file.write_text(source.replace(*but), encoding="utf-8")
    return folder


def load_package(archive: Path) -> Package:
    """Read an archive of `pyflyte package`; the last digit of a file's name tells its kind."""
    found = Package()
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            handle = tar.extractfile(member)
            if handle is None or not member.name.endswith(".pb"):
                continue
            data = handle.read()
            kind = member.name.removesuffix(".pb").rpartition("_")[2]
            if kind == "1":
                task = TaskSpec.FromString(data)
                _add(found, found.tasks, task.template.id.name, task)
            elif kind == "2":
                workflow = WorkflowSpec.FromString(data)
                _add(found, found.workflows, workflow.template.id.name, workflow)
            else:
                plan = LaunchPlan.FromString(data)
                _add(found, found.launch_plans, plan.id.name, plan)
    return found


def _add(found: Package, those: dict[str, Entity], name: str, entity: Entity) -> None:
    if those.setdefault(name, entity) != entity:
        found.ambiguous.add(name)
