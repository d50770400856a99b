"""One pod: a compiled task run in a fresh process, as FlytePropeller's container would run it.

A process costs two to four seconds. A pod that a test needs only for its outputs can run in the
test's own process, through the same entrypoint: `Container.run_here`.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from flyteidl.admin.task_pb2 import TaskSpec
from flyteidl.core.dynamic_job_pb2 import DynamicJobSpec
from flyteidl.core.errors_pb2 import ContainerError, ErrorDocument
from flyteidl.core.literals_pb2 import LiteralMap
from flyteidl.core.security_pb2 import Secret
from flytekit import LaunchPlan
from flytekit.bin.entrypoint import execute_task_cmd, map_execute_task_cmd

from support.environment import BIN, clean_environment
from support.store import Store

EXECUTION = "f3a9c1d2e4b5a6c7d8e9"
PROJECT = "flytesnacks"
DOMAIN = "development"
CONSOLE = "http://flyte.example.com/console"

_UNIQUE_ID_LENGTH = 20
_POD_NAME_LENGTH = 50
# what no image holds: environments, caches, and what other runs left in the checkout
_NOT_IN_IMAGE = shutil.ignore_patterns("__pycache__", ".*", "wandb", "out")


@dataclass(frozen=True)
class Place:
    """Where in an execution a pod stands.

    Attributes:
        node: The unique id of the node, `n0` or `n1-0-n0` inside another node.
        attempt: 0 first.
        shard: The index in an array node; None elsewhere.
        execution: The execution's name.
        workflow: The workflow's name.
    """

    node: str = "n0"
    attempt: int = 0
    shard: int | None = None
    execution: str = EXECUTION
    workflow: str = "workflow"

    @property
    def unique_id(self) -> str:
        """The node's id in links and pod names; a shard counts as a node inside its array."""
        if self.shard is None:
            return self.node
        return child_id(self.node, f"{self.node}-n{self.shard}")

    @property
    def pod_name(self) -> str:
        """What Kubernetes gives the pod as HOSTNAME."""
        return shorten(f"{self.execution}-{self.unique_id}-{self.attempt}", _POD_NAME_LENGTH)

    @property
    def path(self) -> str:
        """The folder of the pod's metadata below the execution's."""
        shard = "" if self.shard is None else f"/0/{self.shard}"
        return f"{self.node}/data{shard}/{self.attempt}"

    @property
    def url(self) -> str:
        """The execution's page in the Flyte console."""
        path = f"projects/{PROJECT}/domains/{DOMAIN}/executions/{self.execution}"
        return f"{CONSOLE}/{path}/nodeId/{self.unique_id}/nodes"


FIRST = Place()


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

    @property
    def succeeded(self) -> bool:
        """Whether the task returned."""
        return self.outputs is not None or self.futures is not None

    @property
    def retryable(self) -> bool:
        """Whether propeller tries again: a recoverable error, or a pod that was lost."""
        if self.succeeded:
            return False
        return self.error is None or self.error.kind == ContainerError.RECOVERABLE

    @property
    def message(self) -> str:
        """Why the task failed."""
        return self.error.message if self.error else f"pod lost, exit code {self.exit_code}"


@dataclass(frozen=True)
class Container:
    """A pod ready to start; `run` waits for it, `start` and `collect` let a test interfere."""

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
        try:
            process.wait(self.timeout_s)
        finally:
            _end_group(process, self.env["HOME"])
        return self._outcome(
            process.returncode, (self.disk / "log.txt").read_text(errors="replace")
        )

    def run(self) -> Pod:
        """Start, wait, read."""
        return self.collect(self.start())

    def run_here(self) -> Pod:
        """Run in this process: the same entrypoint, environment and folder; its log is its output.

        Not for what needs a process of its own: a run of W&B, a kill, what an import costs.
        """
        _, program, *arguments = self.argv
        command = map_execute_task_cmd if "map" in Path(program).name else execute_task_cmd
        with (
            mock.patch.dict(os.environ, self.env, clear=True),
            mock.patch.dict(LaunchPlan.CACHE, clear=True),
            _working_in(self.disk / "code"),
            redirect_stdout(StringIO()) as log,
        ):
            command.main(arguments, standalone_mode=False)
        return self._outcome(0, log.getvalue())

    def _outcome(self, exit_code: int, log: str) -> Pod:
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
        )

    def _read(self, name: str) -> bytes | None:
        return self.store.read(f"{self.metadata}/{name}")


def prepare_pod(
    spec: TaskSpec,
    inputs: LiteralMap,
    *,
    project: Path,
    store: Store,
    disk: Path,
    place: Place = FIRST,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
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
    """
    disk = disk / f"{place.pod_name}"
    shutil.copytree(project, disk / "code", ignore=_NOT_IN_IMAGE)
    metadata = store.url("metadata", place.execution, place.path)
    raw = store.url("raw", place.pod_name)
    store.write(f"{metadata}/inputs.pb", inputs.SerializeToString())
    return Container(
        spec=spec,
        place=place,
        argv=_command(spec, place, store, metadata, raw),
        env={
            **clean_environment(home=disk / "home"),
            **{pair.key: pair.value for pair in spec.template.container.env},
            **pod_environment(spec, place),
            **store.env,
            **_mount_secrets(spec, secrets or {}, disk / "secrets"),
            **(env or {}),
        },
        disk=disk,
        store=store,
        metadata=metadata,
        raw=raw,
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


def child_id(parent: str, node: str, attempt: int = 0) -> str:
    """The unique id of a node inside a dynamic, branch, array or sub-workflow node."""
    return shorten(f"{parent}-{attempt}-{node}", _UNIQUE_ID_LENGTH)


def shorten(name: str, length: int) -> str:
    """The name, or `f` and seven letters of its FNV-1a hash if it is too long for Kubernetes."""
    if len(name) <= length:
        return name
    digest = 0x811C9DC5
    for byte in name.encode():
        digest = ((digest ^ byte) * 0x01000193) & 0xFFFFFFFF
    alphabet = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "abcdefghijklmnopqrstuvwxyz123456")
    return "f" + base64.b32encode(digest.to_bytes(4, "big")).decode().rstrip("=").translate(
        alphabet
    )


def _command(spec: TaskSpec, place: Place, store: Store, metadata: str, raw: str) -> list[str]:
    previous = '""'
    if place.attempt:
        earlier = Place(**{**vars(place), "attempt": place.attempt - 1})
        previous = store.url("raw", earlier.pod_name, "_flytecheckpoints")
    known = {
        "{{.input}}": f"{metadata}/inputs.pb",
        "{{.outputPrefix}}": metadata,
        "{{.rawOutputDataPrefix}}": raw,
        "{{.checkpointOutputPrefix}}": f"{raw}/_flytecheckpoints",
        "{{.prevCheckpointPrefix}}": previous,
    }
    program, *arguments = [known.get(word, word) for word in spec.template.container.args]
    return [sys.executable, str(BIN / program), *arguments]


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


def _mount_secrets(spec: TaskSpec, secrets: Mapping[str, str], folder: Path) -> dict[str, str]:
    env: dict[str, str] = {}
    for request in spec.template.security_context.secrets:
        value = secrets.get(f"{request.group}/{request.key}")
        if value is None:
            continue  # optional mounts: the pod starts, and the task fails when it looks
        if request.mount_requirement == Secret.MountType.ENV_VAR:
            env[f"_FSEC_{request.group}_{request.key}".upper()] = value
            continue
        path = folder / request.group.lower() / request.key.lower()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value)
        env |= {"FLYTE_SECRETS_DEFAULT_DIR": str(folder), "FLYTE_SECRETS_FILE_PREFIX": ""}
    return env


def _end_group(process: subprocess.Popen[str], home: str) -> None:
    """End what outlived the first process, detached or not: the container is gone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    marker = f"HOME={home}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if marker in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
