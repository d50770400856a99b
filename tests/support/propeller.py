"""A stand-in for FlytePropeller: runs a compiled workflow node by node, each task as a pod.

There is no cluster in the test suite. What a cluster runs is not the Python function but what
`pyflyte package` wrote, in fresh containers that share nothing but a bucket; this module does the
same on one machine, so that what fails only in the pod fails in a test.

Not modelled: caching, timeouts, resources, and access to fields of dataclass outputs.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from flyteidl.admin.task_pb2 import TaskSpec
from flyteidl.core.condition_pb2 import (
    BooleanExpression,
    ConjunctionExpression,
    Operand,
)
from flyteidl.core.dynamic_job_pb2 import DynamicJobSpec
from flyteidl.core.literals_pb2 import Binding, BindingData, Literal, LiteralMap, Scalar, Void
from flyteidl.core.types_pb2 import LiteralType, SimpleType
from flyteidl.core.workflow_pb2 import ArrayNode, Node, WorkflowMetadata, WorkflowTemplate

from support.literals import from_literals, to_literals
from support.package import Package, PackagingError, load_package, package
from support.pod import Container, Place, Pod, child_id, prepare_pod, run_pod
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

_COMPARE: tuple[Callable[[Any, Any], bool], ...] = (
    operator.eq,
    operator.ne,
    operator.gt,
    operator.ge,
    operator.lt,
    operator.le,
)

_NONE = Literal(scalar=Scalar(none_type=Void()))


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
    """

    def __init__(
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
    ) -> None:
        self.package = load_package(compiled) if isinstance(compiled, Path) else compiled
        self.pods: list[Pod] = []
        self._project, self._store, self._disk = project, store, disk
        self._env, self._secrets = env or {}, secrets or {}
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
        return self._run_workflow(self.package.workflows[name].template, inputs, "")

    def runs_of(self, task: str) -> list[Pod]:
        """The pods of the tasks whose name ends with `task`, in the order they ran."""
        return [pod for pod in self.pods if pod.task.endswith(task)]

    def _run_workflow(
        self, template: WorkflowTemplate, inputs: LiteralMap, parent: str
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
        return _bind_all(template.outputs, results)

    def _run_failure_node(
        self,
        node: Node,
        results: dict[str, LiteralMap],
        parent: str,
        failure: WorkflowFailed,
    ) -> None:
        given = _bind_all(node.inputs, results)
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
        parent: str,
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

    def _run_node(self, node: Node, results: dict[str, LiteralMap], parent: str) -> LiteralMap:
        given = _bind_all(node.inputs, results)
        kind = node.WhichOneof("target")
        if kind == "task_node":
            return self._run_task(node, given, parent)
        if kind == "array_node":
            return self._run_array(node, given, parent)
        if kind == "branch_node":
            return self._run_branch(node, given, results, parent)
        assert kind == "workflow_node", f"{node.id}: {kind} is not modelled"
        reference = node.workflow_node.sub_workflow_ref.name
        if not reference:
            plan = self.package.launch_plans[node.workflow_node.launchplan_ref.name]
            reference = plan.spec.workflow_id.name
        inner = self.package.workflows[reference].template
        return self._run_workflow(inner, given, _unique(parent, node))

    def _run_branch(
        self, node: Node, given: LiteralMap, results: dict[str, LiteralMap], parent: str
    ) -> LiteralMap:
        branches = node.branch_node.if_else
        for block in [branches.case, *branches.other]:
            if _holds(block.condition, given):
                return self._run_node(block.then_node, results, _unique(parent, node))
        if branches.HasField("else_node"):
            return self._run_node(branches.else_node, results, _unique(parent, node))
        raise WorkflowFailed(node.id, branches.error.message or "no branch was taken")

    def _run_task(
        self, node: Node, given: LiteralMap, parent: str, shard: int | None = None
    ) -> LiteralMap:
        task = node.task_node if shard is None else node.array_node.node.task_node
        spec = self.package.tasks[task.reference_id.name]
        metadata = node.metadata if shard is None else node.array_node.node.metadata
        retries = metadata.retries.retries or spec.template.metadata.retries.retries
        place = replace(self._place, node=_unique(parent, node), shard=shard)
        pod = self._run_pod(spec, given, place)
        while pod.retryable and pod.place.attempt < retries:
            pod = self._run_pod(spec, given, replace(place, attempt=pod.place.attempt + 1))
        if pod.futures is not None:
            return self._run_dynamic(pod.futures, given, place.node)
        if pod.outputs is None:
            raise WorkflowFailed(place.node, pod.message)
        return pod.outputs

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
        )
        apart = spec.template.id.name.endswith(self._apart)
        self.pods.append(container.run() if apart else container.run_here())
        return self.pods[-1]

    def _run_dynamic(self, futures: DynamicJobSpec, given: LiteralMap, parent: str) -> LiteralMap:
        for template in futures.tasks:
            self.package.tasks[template.id.name] = TaskSpec(template=template)
        results = {"": given, "start-node": given}
        self._run_nodes(futures.nodes, results, parent)
        return _bind_all(futures.outputs, results)

    def _run_array(self, node: Node, given: LiteralMap, parent: str) -> LiteralMap:
        spec = self.package.tasks[node.array_node.node.task_node.reference_id.name]
        shards = [self._run_shard(node, given, parent, i) for i in range(_size(spec, given))]
        failures = [shard for shard in shards if isinstance(shard, WorkflowFailed)]
        if len(shards) - len(failures) < _successes_needed(node.array_node, len(shards)):
            raise failures[0]
        return _gather(spec, [None if shard in failures else shard for shard in shards])

    def _run_shard(
        self, node: Node, given: LiteralMap, parent: str, shard: int
    ) -> LiteralMap | WorkflowFailed:
        try:
            return self._run_task(node, given, parent, shard)
        except WorkflowFailed as failure:
            return failure


def _unique(parent: str, node: Node) -> str:
    return child_id(parent, node.id) if parent else node.id


def _bind_all(bindings: Iterable[Binding], results: Mapping[str, LiteralMap]) -> LiteralMap:
    bound = LiteralMap()
    for binding in bindings:
        bound.literals[binding.var].CopyFrom(_bind(binding.binding, results))
    return bound


def _bind(data: BindingData, results: Mapping[str, LiteralMap]) -> Literal:
    kind = data.WhichOneof("value")
    bound = Literal()
    if kind == "promise":
        assert not data.promise.attr_path, "fields of outputs are not modelled"
        bound.CopyFrom(results[data.promise.node_id].literals[data.promise.var])
    elif kind == "collection":
        bound.collection.SetInParent()
        for item in data.collection.bindings:
            bound.collection.literals.add().CopyFrom(_bind(item, results))
    elif kind == "map":
        bound.map.SetInParent()
        for name, item in data.map.bindings.items():
            bound.map.literals[name].CopyFrom(_bind(item, results))
    else:
        bound.scalar.CopyFrom(data.scalar)
    return bound


def _holds(condition: BooleanExpression, given: LiteralMap) -> bool:
    if condition.HasField("conjunction"):
        conjunction = condition.conjunction
        sides = (conjunction.left_expression, conjunction.right_expression)
        combine = all if conjunction.operator == ConjunctionExpression.AND else any
        return combine(_holds(side, given) for side in sides)
    comparison = condition.comparison
    left, right = _value(comparison.left_value, given), _value(comparison.right_value, given)
    return bool(_COMPARE[comparison.operator](left, right))


def _value(operand: Operand, given: LiteralMap) -> object:
    if operand.HasField("primitive"):
        primitive = operand.primitive
    elif operand.HasField("scalar"):
        primitive = operand.scalar.primitive
    else:
        primitive = given.literals[operand.var].scalar.primitive
    return getattr(primitive, primitive.WhichOneof("value"))


def _size(spec: TaskSpec, given: LiteralMap) -> int:
    """How many shards: the length of the lists that are not bound by `functools.partial`."""
    arguments = list(spec.template.container.args)
    bound = arguments[arguments.index("vars") + 1].split(",")
    lengths = [
        len(literal.collection.literals)
        for name, literal in given.literals.items()
        if name not in bound
    ]
    return max(lengths)


def _successes_needed(array: ArrayNode, size: int) -> int:
    if array.WhichOneof("success_criteria") == "min_successes":
        return int(array.min_successes)
    if array.WhichOneof("success_criteria") == "min_success_ratio":
        return math.ceil(size * float(array.min_success_ratio))
    return size


def _gather(spec: TaskSpec, shards: list[LiteralMap | None]) -> LiteralMap:
    """The shards' outputs as lists; where failures are allowed, each item is a union with None."""
    gathered = LiteralMap()
    for name, variable in spec.template.interface.outputs.variables.items():
        collection = gathered.literals[name].collection
        collection.SetInParent()
        item = variable.type.collection_type
        for shard in shards:
            value = _NONE if shard is None else shard.literals[name]
            if item.HasField("union_type"):
                value = _as_union(value, item.union_type.variants)
            collection.literals.add().CopyFrom(value)
    return gathered


def _as_union(value: Literal, variants: Iterable[LiteralType]) -> Literal:
    union = Literal()
    union.scalar.union.value.CopyFrom(value)
    for variant in variants:
        is_none = variant.WhichOneof("type") == "simple" and variant.simple == SimpleType.NONE
        if is_none == (value == _NONE):
            union.scalar.union.type.CopyFrom(variant)
    return union
