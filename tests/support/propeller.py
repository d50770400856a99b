"""A stand-in for FlytePropeller: runs a compiled workflow node by node, each task as a pod.

There is no cluster in the test suite. What a cluster runs is not the Python function but what
`pyflyte package` wrote, in fresh containers that share nothing but a bucket; this module does the
same on one machine, so that what fails only in the pod fails in a test.

Not modelled: interruptible nodes, concurrent nodes, and access to fields of dataclass outputs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from flyteidl.admin.task_pb2 import TaskSpec
from flyteidl.core.dynamic_job_pb2 import DynamicJobSpec
from flyteidl.core.literals_pb2 import LiteralMap
from flyteidl.core.types_pb2 import SimpleType
from flyteidl.core.workflow_pb2 import (
    Node,
    NodeMetadata,
    WorkflowMetadata,
    WorkflowTemplate,
)

from support.bindings import bind_all, gather, holds, size, successes_needed
from support.catalog import Catalog
from support.literals import from_literals, to_literals
from support.package import Package, PackagingError, load_package, package
from support.place import Place
from support.pod import Container, Pod, prepare_pod, run_pod
from support.store import Store

__all__ = [
    "Container",
    "Package",
    "PackagingError",
    "Place",
    "Pod",
    "Propeller",
    "Store",
    "WorkflowFailed",
    "from_literals",
    "load_package",
    "package",
    "prepare_pod",
    "run_pod",
    "to_literals",
]

# attempts at the cost of the cluster: `max-node-retries-system-failures`
_SYSTEM_RETRIES = 3


class WorkflowFailed(AssertionError):  # noqa: N818 - named as the phase is
    """A node failed and the workflow with it."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(f"{node}: {reason}")
        self.node = node


class Propeller:
    """Runs the workflows of a package; every pod that ran is kept in `pods`.

    Args:
        compiled: What `package` wrote, or `load_package` read.
        project: The code in the image.
        store: Where metadata and raw output go.
        disk: The folder below which every pod gets a disk of its own.
        env: The execution's `envs`, given to every pod.
        secrets: The cluster's secrets, as `group/key`.
        execution: The execution's name; two executions in one store need two names.
        apart: The tasks that get a process of their own, by the ends of their names; the others
            run in this process, which is faster. None gives one to all.
        defaults: The cluster's `default-env-vars`.
        catalog: What it remembers of cached tasks; share it between executions.
        within: A program, with its arguments, that runs the processes of the pods.
    """

    def __init__(  # noqa: PLR0913 - one for each thing that a cluster has
        self,
        compiled: Package | Path,
        *,
        project: Path,
        store: Store,
        disk: Path,
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        execution: str = Place.execution,
        apart: Collection[str] | None = None,
        defaults: Mapping[str, str] | None = None,
        catalog: Catalog | None = None,
        within: Sequence[str] = (),
    ) -> None:
        self.package = load_package(compiled) if isinstance(compiled, Path) else compiled
        self.pods: list[Pod] = []
        self._project, self._store, self._disk = project, store, disk
        self._env, self._secrets, self._defaults = env or {}, secrets or {}, defaults or {}
        self._catalog = Catalog() if catalog is None else catalog
        self._within = tuple(within)
        self._place = Place(execution=execution)
        self._apart = ("",) if apart is None else tuple(apart)

    def launch_plan(
        self, name: str, inputs: LiteralMap, *, kickoff: datetime | None = None
    ) -> LiteralMap:
        """Run a launch plan: its defaults, then the inputs, then its fixed inputs.

        Args:
            name: The launch plan.
            inputs: What the caller gives.
            kickoff: When the schedule fired; goes to the input that the schedule names.
        """
        plan = self.package.launch_plans[name].spec
        given = LiteralMap()
        for key, parameter in plan.default_inputs.parameters.items():
            if parameter.HasField("default"):
                given.literals[key].CopyFrom(parameter.default)
        argument = plan.entity_metadata.schedule.kickoff_time_input_arg
        kickoffs = to_literals({argument: kickoff}) if kickoff and argument else LiteralMap()
        for source in (inputs, kickoffs, plan.fixed_inputs):
            for key, literal in source.literals.items():
                given.literals[key].CopyFrom(literal)
        return self.workflow(plan.workflow_id.name, given)

    def workflow(self, name: str, inputs: LiteralMap) -> LiteralMap:
        """Run a workflow and return its outputs.

        Raises:
            WorkflowFailed: If a node failed; the failure node has run then.
        """
        self._place = replace(self._place, workflow=name)
        return self._run_workflow(self.package.workflows[name].template, inputs, None)

    def runs_of(self, task: str) -> list[Pod]:
        """The pods of the tasks whose name ends with `task`, in the order they ran."""
        return [pod for pod in self.pods if pod.task.endswith(task)]

    def _run_workflow(
        self, template: WorkflowTemplate, inputs: LiteralMap, parent: Place | None
    ) -> LiteralMap:
        results = {"": inputs, "start-node": inputs}
        patient = (
            template.metadata.on_failure
            == WorkflowMetadata.OnFailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE
        )
        try:
            self._run_nodes(template.nodes, results, parent, patient=patient)
        except WorkflowFailed as failure:
            if template.HasField("failure_node"):
                self._run_failure_node(template.failure_node, results, parent, failure)
            raise
        return bind_all(template.outputs, results)

    def _run_failure_node(
        self,
        node: Node,
        results: dict[str, LiteralMap],
        parent: Place | None,
        failure: WorkflowFailed,
    ) -> None:
        given = bind_all(node.inputs, results)
        if "err" in given.literals:
            union = given.literals["err"].scalar.union
            union.value.scalar.error.message = str(failure)
            union.value.scalar.error.failed_node_id = failure.node
            union.type.simple = SimpleType.ERROR
            union.type.structure.tag = "FlyteError"
        self._run_task(node, given, parent)

    def _run_nodes(
        self,
        nodes: Iterable[Node],
        results: dict[str, LiteralMap],
        parent: Place | None,
        *,
        patient: bool = False,
    ) -> None:
        waiting = [node for node in nodes if node.id not in ("start-node", "end-node")]
        failure: WorkflowFailed | None = None
        while ready := [n for n in waiting if not set(n.upstream_node_ids) - set(results) - {""}]:
            node = ready[0]
            waiting.remove(node)
            try:
                results[node.id] = self._run_node(node, results, parent)
            except WorkflowFailed as error:
                failure = failure or error
                if not patient:
                    break
        if failure:
            raise failure
        assert not waiting, f"nodes wait for each other: {[node.id for node in waiting]}"

    def _run_node(
        self, node: Node, results: dict[str, LiteralMap], parent: Place | None
    ) -> LiteralMap:
        given = bind_all(node.inputs, results)
        kind = node.WhichOneof("target")
        if kind == "task_node":
            return self._run_task(node, given, parent)
        if kind == "array_node":
            return self._run_array(node, given, parent)
        if kind == "branch_node":
            return self._run_branch(node, given, results, parent)
        assert kind == "workflow_node", f"{node.id}: {kind} is not modelled"
        place = self._at(node, parent)
        reference = node.workflow_node.sub_workflow_ref.name
        if not reference:
            return self._run_child(node.workflow_node.launchplan_ref.name, given, place)
        return self._run_workflow(self.package.workflows[reference].template, given, place)

    def _run_child(self, plan: str, given: LiteralMap, place: Place) -> LiteralMap:
        """A launch plan in a workflow is an execution of its own."""
        outer = self._place
        self._place = Place(execution=place.child_execution)
        try:
            return self.launch_plan(plan, given)
        finally:
            self._place = outer

    def _at(self, node: Node, parent: Place | None, shard: int | None = None) -> Place:
        return replace(self._place, node=node.id, within=parent, shard=shard)

    def _run_branch(
        self, node: Node, given: LiteralMap, results: dict[str, LiteralMap], parent: Place | None
    ) -> LiteralMap:
        branches = node.branch_node.if_else
        for block in [branches.case, *branches.other]:
            if holds(block.condition, given):
                return self._run_node(block.then_node, results, self._at(node, parent))
        if branches.HasField("else_node"):
            return self._run_node(branches.else_node, results, self._at(node, parent))
        raise WorkflowFailed(node.id, branches.error.message or "no branch was taken")

    def _run_task(
        self, node: Node, given: LiteralMap, parent: Place | None, shard: int | None = None
    ) -> LiteralMap:
        own = node if shard is None else node.array_node.node
        spec = self.package.tasks[own.task_node.reference_id.name]
        place = self._at(node, parent, shard)
        kept = self._catalog.find(spec, own.metadata, given, shard)
        if kept is not None:
            return kept
        pod = self._run_attempts(spec, given, place, own.metadata)
        if not pod.succeeded:
            raise WorkflowFailed(place.unique_id, pod.message)
        outputs = pod.outputs
        if pod.futures is not None:
            outputs = self._run_dynamic(pod.futures, given, pod.place)
        assert outputs is not None
        self._catalog.keep(spec, own.metadata, given, outputs, shard)
        return outputs

    def _run_attempts(
        self, spec: TaskSpec, given: LiteralMap, place: Place, metadata: NodeMetadata
    ) -> Pod:
        """The last attempt; a lost pod does not count among the retries that the user allows."""
        retries = metadata.retries.retries or spec.template.metadata.retries.retries
        lost = failed = 0
        while True:
            pod = self._run_pod(spec, given, replace(place, attempt=lost + failed))
            if not pod.retryable:
                return pod
            lost, failed = lost + pod.interrupted, failed + (not pod.interrupted)
            if failed > retries or lost > _SYSTEM_RETRIES:
                return pod

    def _run_pod(self, spec: TaskSpec, given: LiteralMap, place: Place) -> Pod:
        container = prepare_pod(
            spec,
            given,
            project=self._project,
            store=self._store,
            disk=self._disk,
            place=place,
            env=self._env,
            secrets=self._secrets,
            defaults=self._defaults,
        )
        apart = spec.template.id.name.endswith(self._apart)
        self.pods.append(container.run(within=self._within) if apart else container.run_here())
        return self.pods[-1]

    def _run_dynamic(self, futures: DynamicJobSpec, given: LiteralMap, parent: Place) -> LiteralMap:
        for template in futures.tasks:
            self.package.tasks[template.id.name] = TaskSpec(template=template)
        results = {"": given, "start-node": given}
        self._run_nodes(futures.nodes, results, parent)
        return bind_all(futures.outputs, results)

    def _run_array(self, node: Node, given: LiteralMap, parent: Place | None) -> LiteralMap:
        spec = self.package.tasks[node.array_node.node.task_node.reference_id.name]
        shards = [self._run_shard(node, given, parent, i) for i in range(size(spec, given))]
        failures = [shard for shard in shards if isinstance(shard, WorkflowFailed)]
        if len(shards) - len(failures) < successes_needed(node.array_node, len(shards)):
            raise failures[0]
        return gather(spec, [None if shard in failures else shard for shard in shards])

    def _run_shard(
        self, node: Node, given: LiteralMap, parent: Place | None, shard: int
    ) -> LiteralMap | WorkflowFailed:
        try:
            return self._run_task(node, given, parent, shard)
        except WorkflowFailed as failure:
            return failure
