"""What `pyflyte run --remote` and `FlyteRemote` register, kept here instead of in FlyteAdmin.

Code is uploaded as they do it, into a folder. Only the calls to FlyteAdmin are replaced.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from flytekit.configuration import Config
from flytekit.remote import FlyteRemote

from support.package import Package
from support.place import DOMAIN, PROJECT


class Registry:
    """The client of FlyteAdmin, as far as registration needs it."""

    def __init__(self) -> None:
        self.package = Package()

    def create_task(self, task_identifer: Any, task_spec: Any) -> None:
        """Keep a task."""
        spec = task_spec.to_flyte_idl()
        self.package.tasks[task_identifer.name] = spec

    def create_workflow(self, workflow_identifier: Any, workflow_spec: Any) -> None:
        """Keep a workflow."""
        self.package.workflows[workflow_identifier.name] = workflow_spec.to_flyte_idl()

    def create_launch_plan(self, launch_plan_identifer: Any, launch_plan_spec: Any) -> None:
        """Take a launch plan."""

    def get_upload_signed_url(self, **_: Any) -> Any:
        """Only named, never called: `upload_file` is replaced."""


@contextmanager
def remote(folder: Path, *, interactive: bool = False) -> Iterator[tuple[FlyteRemote, Package]]:
    """A `FlyteRemote`, and what it registers.

    Args:
        folder: Where it uploads code to.
        interactive: Whether it pickles tasks, as it does in a notebook.
    """
    registry = Registry()
    flyte = FlyteRemote(
        Config.for_endpoint("127.0.0.1:9", insecure=True),
        default_project=PROJECT,
        default_domain=DOMAIN,
        interactive_mode_enabled=interactive,
    )

    def upload_file(path: Path, *_: Any, **__: Any) -> tuple[bytes, str]:
        return b"digest", str(shutil.copy(path, folder))

    with (
        mock.patch.object(FlyteRemote, "client", registry),
        mock.patch.object(flyte, "upload_file", upload_file),
        mock.patch.object(flyte, "fetch_workflow"),
        mock.patch.object(flyte, "fetch_task"),
    ):
        yield flyte, registry.package
