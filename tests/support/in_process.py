"""A task run in this process as if it were in a pod: a second where a pod costs four.

For unit tests. What depends on the fresh process (imports, the resolver, what dies with the
container) needs `support.propeller`.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from flyteidl.admin.task_pb2 import TaskSpec
from flytekit import FlyteContext
from flytekit.bin.entrypoint import setup_execution
from flytekit.core.base_task import PythonTask
from flytekit.core.type_engine import TypeEngine
from flytekit.tools.module_loader import load_object_from_module

from support.package import SETTINGS
from support.place import FIRST, Place
from support.pod import pod_environment


def in_pod(task: Any) -> Any:
    """The task as a pod finds it: from the container's arguments alone."""
    arguments = task.get_command(SETTINGS)
    at = arguments.index("--resolver")
    resolver = load_object_from_module(arguments[at + 1])
    return resolver.load_task(arguments[arguments.index("--", at) + 1 :])


@contextmanager
def pod_context(
    folder: Path,
    *,
    place: Place = FIRST,
    task: str = "module.task",
    linked: bool = True,
    env: Mapping[str, str] | None = None,
    after: Place | None = None,
) -> Iterator[FlyteContext]:
    """flytekit's state and the environment inside a pod.

    Args:
        folder: Where the pod's metadata and raw output go.
        place: Where in an execution it stands.
        task: The task's name.
        linked: Whether the task has link config, and so the execution's URL.
        env: Added to the environment.
        after: The place of the attempt before this one, whose checkpoint is handed on.
    """
    spec = TaskSpec()
    spec.template.id.name = task
    if linked:
        spec.template.config["link_type"] = "wandb-execution-id"
    changed = {**pod_environment(spec, place), **(env or {})}
    with (
        mock.patch.dict(os.environ, changed),
        setup_execution(
            raw_output_data_prefix=str(folder / "raw"),
            output_metadata_prefix=str(folder / "metadata" / place.path),
            checkpoint_path=str(folder / "checkpoints" / place.path),
            prev_checkpoint=str(folder / "checkpoints" / after.path) if after else None,
        ) as context,
    ):
        yield context


def execute(context: FlyteContext, task: PythonTask[Any], **values: Any) -> dict[str, Any]:
    """Run a task inside `pod_context` on Python values; its outputs as Python values."""
    inputs, outputs = task.python_interface.inputs, task.python_interface.outputs
    literals = TypeEngine.dict_to_literal_map(context, values, inputs)
    done = task.dispatch_execute(context, literals)
    if inspect.iscoroutine(done):  # flytekit before 1.15, whose entrypoint awaits it
        done = asyncio.run(done)
    return dict(TypeEngine.literal_map_to_kwargs(context, done, outputs))
