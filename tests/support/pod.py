"""One pod: a compiled task run in a fresh process, as FlytePropeller's container would run it.

A process costs two to four seconds. A pod that a test needs only for its outputs can run in the
test's own process, through the same entrypoint: `Container.run_here`.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from flyteidl.admin.task_pb2 import TaskSpec
from flyteidl.core.dynamic_job_pb2 import DynamicJobSpec
from flyteidl.core.errors_pb2 import ContainerError, ErrorDocument
from flyteidl.core.literals_pb2 import LiteralMap
from flyteidl.core.tasks_pb2 import Resources
from flytekit import LaunchPlan
from flytekit.bin.entrypoint import execute_task_cmd, map_execute_task_cmd

from support.admin import amount
from support.environment import BIN, clean_environment
from support.place import DOMAIN, FIRST, PROJECT, Place
from support.processes import end_all, wait_below
from support.secret_mounts import mount_secrets
from support.store import Store

# what no image holds: environments, caches, and what other runs left in the checkout
_NOT_IN_IMAGE = shutil.ignore_patterns("__pycache__", ".*", "wandb", "out")


@dataclass(frozen=True)
class Pod:
    """What a pod left behind.

    Attributes:
        task: The task's name.
        place: Where it stood in the execution.
        exit_code: Of the process; 0 also for a failed task, as on a cluster.
        log: Everything it printed.
        outputs: Its results; None if it failed or is dynamic.
        error: Its error document; None if it succeeded or was killed.
        futures: The workflow that a dynamic task asks for.
        deck: Its Deck as HTML; empty without one.
        disk: The container's own disk (`code`, `home`, `secrets`), which dies with a real pod.
        raw: The URL below which it wrote data.
        ended_for: Why the cluster ended it, `OOMKilled` or `timeout`; empty if it ended by itself.
    """

    task: str
    place: Place
    exit_code: int
    log: str
    outputs: LiteralMap | None
    error: ContainerError | None
    futures: DynamicJobSpec | None
    deck: str
    disk: Path
    raw: str
    ended_for: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether the task returned, and its process ended as if it had."""
        returned = self.outputs is not None or self.futures is not None
        return returned and self.exit_code == 0

    @property
    def interrupted(self) -> bool:
        """Whether the pod was lost: propeller tries again at its own cost, even with no retries."""
        return self.exit_code != 0 and not self.ended_for

    @property
    def retryable(self) -> bool:
        """Whether propeller tries again: anything but an error that says it is for good."""
        if self.succeeded:
            return False
        return self.interrupted or not self.error or self.error.kind == ContainerError.RECOVERABLE

    @property
    def message(self) -> str:
        """Why the task failed."""
        if self.error:
            return self.error.message
        if self.interrupted:
            return f"Interrupted: pod lost, exit code {self.exit_code}"
        return self.ended_for or "OutputsNotFound"


@dataclass(frozen=True)
class Container:
    """A pod ready to start; `run` waits for it, `start` and `collect` let a test interfere.

    A process that needs more memory than its task asked for is killed, and one that takes longer
    than its task's timeout is ended.
    """

    spec: TaskSpec
    place: Place
    argv: list[str]
    env: Mapping[str, str]
    disk: Path
    store: Store
    metadata: str
    raw: str
    timeout_s: float = field(default=180)

    def start(self, *, within: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Start the process in its own group, writing its log to `disk/log.txt`.

        Args:
            within: A program, with its arguments, that runs the process.
        """
        with (self.disk / "log.txt").open("w") as log:
            return subprocess.Popen(
                [*within, *self.argv],
                cwd=self.disk / "code",
                env=dict(self.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def collect(self, process: subprocess.Popen[str]) -> Pod:
        """Wait for the process, then end what it left running and read what it wrote."""
        home, timeout_s = self.env["HOME"], self.spec.template.metadata.timeout.ToSeconds()
        try:
            ended_for = wait_below(
                process, home, memory=_memory(self.spec), timeout_s=timeout_s or self.timeout_s
            )
            assert ended_for != "timeout" or timeout_s, f"the pod runs for {self.timeout_s} s"
        finally:
            end_all(process, home)
        log = (self.disk / "log.txt").read_text(errors="replace")
        return self._outcome(process.returncode, log, ended_for)

    def run(self, *, within: Sequence[str] = ()) -> Pod:
        """Start, wait, read."""
        return self.collect(self.start(within=within))

    def run_here(self) -> Pod:
        """Run in this process: the same entrypoint, environment and folder; its log is its output.

        Not for what needs a process of its own: a run of W&B, a kill, what an import costs.
        """
        _, program, *arguments = self.argv
        command = map_execute_task_cmd if "map" in Path(program).name else execute_task_cmd
        exit_code = 0
        with (
            mock.patch.dict(os.environ, self.env, clear=True),
            mock.patch.dict(LaunchPlan.CACHE, clear=True),
            _working_in(self.disk / "code"),
            redirect_stdout(StringIO()) as log,
        ):
            try:
                command.main(arguments, standalone_mode=False)
            except SystemExit as ended:
                exit_code = int(ended.code or 0)
        return self._outcome(exit_code, log.getvalue())

    def _outcome(self, exit_code: int, log: str, ended_for: str = "") -> Pod:
        deck = self._read("deck.html")
        outputs, error, futures = map(self._read, ("outputs.pb", "error.pb", "futures.pb"))
        return Pod(
            task=self.spec.template.id.name,
            place=self.place,
            exit_code=exit_code,
            log=log,
            outputs=None if outputs is None else LiteralMap.FromString(outputs),
            error=None if error is None else ErrorDocument.FromString(error).error,
            futures=None if futures is None else DynamicJobSpec.FromString(futures),
            deck=(deck or b"").decode(),
            disk=self.disk,
            raw=self.raw,
            ended_for=ended_for,
        )

    def _read(self, name: str) -> bytes | None:
        return self.store.read(f"{self.metadata}/{name}")


def prepare_pod(  # noqa: PLR0913 - one for each thing that a pod is made of
    spec: TaskSpec,
    inputs: LiteralMap,
    *,
    project: Path,
    store: Store,
    disk: Path,
    place: Place = FIRST,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
) -> Container:
    """A container for a compiled task, with its inputs uploaded.

    Args:
        spec: The compiled task.
        inputs: Its inputs.
        project: The code in its image; copied, so that nothing is written into it.
        store: Where metadata and raw output go.
        disk: The pod's own disk is made below this folder.
        place: Where in an execution it stands.
        env: Added to its environment, as an execution's `envs` are.
        secrets: The cluster's secrets as `group/key`; only those the task requests are mounted.
        defaults: The cluster's `default-env-vars`, which beat all others.
    """
    disk = disk / place.pod_name
    shutil.copytree(project, disk / "code", ignore=_NOT_IN_IMAGE)
    metadata = store.url("metadata", place.execution)
    store.write(f"{metadata}/{place.inputs}", inputs.SerializeToString())
    return Container(
        spec=spec,
        place=place,
        argv=_command(spec, place, store),
        env={
            **clean_environment(home=disk / "home"),
            **mount_secrets(spec, secrets or {}, disk / "secrets"),
            **{pair.key: pair.value for pair in spec.template.container.env},
            **pod_environment(spec, place),
            **store.env,
            **(env or {}),
            **(defaults or {}),
        },
        disk=disk,
        store=store,
        metadata=f"{metadata}/{place.path}",
        raw=store.url("raw", place.raw),
    )


def run_pod(spec: TaskSpec, inputs: LiteralMap, **where: Any) -> Pod:
    """Run a compiled task to its end; the arguments are those of `prepare_pod`."""
    return prepare_pod(spec, inputs, **where).run()


def pod_environment(spec: TaskSpec, place: Place) -> dict[str, str]:
    """What propeller tells a container about where it is.

    The execution's URL is set only if the task's config names a link type, as on a cluster.
    """
    env = {
        "FLYTE_INTERNAL_EXECUTION_ID": place.execution,
        "FLYTE_INTERNAL_EXECUTION_PROJECT": PROJECT,
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": DOMAIN,
        "FLYTE_INTERNAL_EXECUTION_WORKFLOW": f"{PROJECT}:{DOMAIN}:{place.workflow}",
        "FLYTE_ATTEMPT_NUMBER": str(place.attempt),
        "FLYTE_INTERNAL_TASK_PROJECT": PROJECT,
        "FLYTE_INTERNAL_TASK_DOMAIN": DOMAIN,
        "FLYTE_INTERNAL_TASK_NAME": spec.template.id.name,
        "FLYTE_INTERNAL_TASK_VERSION": "v1",
        "HOSTNAME": place.pod_name,
        "_F_L_MIN_SIZE_MB": "10",
        "_F_L_MAX_SIZE_MB": "1000",
    }
    if "link_type" in spec.template.config:
        env["FLYTE_EXECUTION_URL"] = place.url
    if place.shard is not None:
        env["BATCH_JOB_ARRAY_INDEX_VAR_NAME"] = "FLYTE_K8S_ARRAY_INDEX"
        env["FLYTE_K8S_ARRAY_INDEX"] = str(place.shard)
    return env


def _command(spec: TaskSpec, place: Place, store: Store) -> list[str]:
    metadata, raw = store.url("metadata", place.execution), store.url("raw", place.raw)
    previous = '""'
    if place.attempt:
        earlier = replace(place, attempt=place.attempt - 1)
        previous = store.url("raw", earlier.raw, "_flytecheckpoints")
    known = {
        "{{.input}}": f"{metadata}/{place.inputs}",
        "{{.outputPrefix}}": f"{metadata}/{place.path}",
        "{{.rawOutputDataPrefix}}": raw,
        "{{.checkpointOutputPrefix}}": f"{raw}/_flytecheckpoints",
        "{{.prevCheckpointPrefix}}": previous,
    }
    program, *arguments = [known.get(word, word) for word in spec.template.container.args]
    return [sys.executable, str(BIN / program), *arguments]


def _memory(spec: TaskSpec) -> float:
    """The most bytes that the task may use: its limit, which without one is its request."""
    resources = spec.template.container.resources
    for given in (resources.limits, resources.requests):
        for each in given:
            if each.name == Resources.ResourceName.MEMORY:
                return float(amount(each.value))
    return math.inf


@contextmanager
def _working_in(code: Path) -> Iterator[None]:
    """The folder as working directory, and its modules instead of others of the same name."""
    before = Path.cwd()
    names = {path.stem for path in code.iterdir()}

    def take_out() -> dict[str, ModuleType]:
        ours = [name for name in sys.modules if name.partition(".")[0] in names]
        return {name: sys.modules.pop(name) for name in ours}

    others = take_out()
    sys.path.insert(0, str(code))
    os.chdir(code)
    try:
        yield
    finally:
        os.chdir(before)
        sys.path.remove(str(code))
        take_out()
        sys.modules.update(others)
