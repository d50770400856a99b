"""A stand-in for FlyteAdmin: what it refuses when a package is registered.

Its rules for launch plans are those of `validation/launch_plan_validator.go` of Flyte 1.16; its
words are kept, so that a reader finds them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from flyteidl.admin.launch_plan_pb2 import LaunchPlan
from flyteidl.admin.task_pb2 import TaskSpec
from flyteidl.core.interface_pb2 import Variable
from flyteidl.core.literals_pb2 import Literal
from flyteidl.core.types_pb2 import LiteralType, SimpleType

from support.package import Package

_UNITS = {
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", 1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)},
}


def refusals(package: Package) -> list[str]:
    """Why FlyteAdmin refuses entities of a package, each with the entity's name; empty if none."""
    return [
        *(f"{name}: one name, different structure" for name in sorted(package.ambiguous)),
        *(f"{name}: {why}" for name, task in package.tasks.items() for why in _of_task(task)),
        *(
            f"{name}: {why}"
            for name, plan in package.launch_plans.items()
            for why in _of_plan(plan, package)
        ),
    ]


def _of_task(task: TaskSpec) -> Iterator[str]:
    resources = task.template.container.resources
    limits = {each.name: each.value for each in resources.limits}
    for request in resources.requests:
        limit = limits.get(request.name)
        if limit and amount(request.value) > amount(limit):
            yield f"requested {request.value} is greater than current limit {limit}"


def _of_plan(plan: LaunchPlan, package: Package) -> Iterator[str]:
    spec = plan.spec
    workflow = package.workflows.get(spec.workflow_id.name)
    if workflow is None:
        yield f"missing workflow {spec.workflow_id.name}"
        return
    inputs = workflow.template.interface.inputs.variables
    fixed, default = spec.fixed_inputs.literals, spec.default_inputs.parameters
    for name in sorted({*fixed, *default} - set(inputs)):
        yield f"unexpected input {name}"
    for name in sorted(set(fixed) & set(inputs)):
        if not _suits(fixed[name], inputs[name].type):
            yield f"invalid fixed_input wrong type {name}"
    free = {name: inputs[name] for name in inputs if name not in fixed}
    required = {name for name in free if name not in default or default[name].required}
    yield from _of_schedule(plan, free, required)


def _of_schedule(plan: LaunchPlan, free: dict[str, Variable], required: set[str]) -> Iterator[str]:
    schedule = plan.spec.entity_metadata.schedule
    if schedule.WhichOneof("ScheduleExpression") is None:
        return
    kickoff = schedule.kickoff_time_input_arg
    for name in sorted(required - {kickoff}):
        yield (
            "Cannot create a launch plan with a schedule if there is an unbound required input. "
            f"[{name}] is required"
        )
    if kickoff and kickoff not in free:
        yield f"KickoffTimeInputArg does not point to a free input. [{kickoff}]"
    elif kickoff and free[kickoff].type.simple != SimpleType.DATETIME:
        yield f"KickoffTimeInputArg must reference a datetime input. [{kickoff}]"


def _suits(literal: Literal, wanted: LiteralType) -> bool:
    """Whether a fixed input has the type of its input, as far as files and data sets go."""
    scalar = literal.scalar
    if wanted.HasField("blob"):
        return scalar.blob.metadata.type == wanted.blob
    if wanted.HasField("structured_dataset_type"):
        return scalar.HasField("structured_dataset")
    return True


def amount(quantity: str) -> Decimal:
    """A quantity of Kubernetes, such as `500m` or `1Gi`, as a number."""
    number = quantity.rstrip("".join(_UNITS))
    return Decimal(number) * _UNITS.get(quantity.removeprefix(number), Decimal(1))
