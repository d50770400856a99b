"""The node that sends an alert when the monitoring workflow itself failed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from flyteidl.core.types_pb2 import LiteralType as LiteralTypeProto
from flytekit.core.type_engine import TypeEngine
from flytekit.models.types import LiteralType
from flytekit.types.error.error import FlyteError
from google.protobuf.json_format import MessageToJson, Parse

from flytekitplugins.wbmon.arguments import moment, require_text
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule
from flytekitplugins.wbmon.monitor.alerts.heartbeat import Heartbeat
from flytekitplugins.wbmon.privacy.secrets import SecretRedactor
from flytekitplugins.wbmon.publish.alerts.channel import Channel
from flytekitplugins.wbmon.tasks._node import Node
from flytekitplugins.wbmon.tasks.alerts import (
    AlertSettings,
    Decided,
    decide,
    listed_channels,
    with_channel_secrets,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureSettings(AlertSettings):
    """Settings of `MonitorFailure`; `inputs` maps names to Flyte types in JSON."""

    inputs: Mapping[str, str]
    at: str = ""


class MonitorFailure(Node[FailureSettings]):
    """Send an alert that a workflow failed, as the failure node of this workflow.

        @workflow(
            on_failure=MonitorFailure(
                "payments.failed", inputs={"kickoff": datetime}, at="kickoff", channels=[...]
            )
        )
        def nightly(kickoff: datetime) -> bool: ...

    Make it in the decorator, as here: `pyflyte run file.py --help` cannot show the type of what
    went wrong, and would try to if a variable of the module held the node.

    Each failed execution is reported once.

    Args:
        name: The task's name.
        inputs: Names and types of all inputs of the workflow; Flyte passes them to this node.
        at: Name of the input with the time of the window; if empty, the current time is used.
        owner: Person or team in charge; shown in the alert.
        runbook: Link to instructions; shown in the alert.
        channels: As for `DegradationAlert`.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If `at` is not one of the inputs, or an input is named `err`.
    """

    def __init__(
        self,
        name: str,
        *,
        inputs: Mapping[str, type],
        at: str = "",
        owner: str = "",
        runbook: str = "",
        channels: Sequence[Channel] = (),
        **task_kwargs: Any,
    ) -> None:
        require_text("at", at)
        given: Any = inputs
        if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
            raise ConfigError(
                "inputs must be a mapping of the workflow's input names to types, such as "
                f'{{"kickoff": datetime}}, got one {type(given).__name__}'
            )
        if "err" in inputs or (at and at not in inputs):
            raise ConfigError(
                f"MonitorFailure {name!r} must get the workflow's inputs by name, none called err, "
                f"and at= must be one of them; got inputs {', '.join(inputs)} and at={at!r}"
            )
        rule = AlertRule(
            metric="heartbeat.failed",
            above=0,
            severity="error",
            name="monitor failed",
            owner=owner,
            runbook=runbook,
        )
        settings = FailureSettings(
            rules=(rule,),
            channels=listed_channels(channels),
            inputs={key: _type_to_json(kind) for key, kind in inputs.items()},
            at=at,
        )
        self.compute = _with_inputs(  # type: ignore[method-assign]  # each has the inputs of its workflow
            self.compute, inputs
        )
        super().__init__(name, settings, **with_channel_secrets(channels, task_kwargs))

    @classmethod
    def restore(cls, name: str, config: FailureSettings) -> MonitorFailure:
        """Rebuild the node from its settings, with the inputs of the workflow."""
        node = cls.__new__(cls)
        types = {key: _type_from_json(text) for key, text in config.inputs.items()}
        node.compute = _with_inputs(node.compute, types)  # type: ignore[method-assign]  # as above
        # after `compute` is set, because the interface is read from it
        Node.__init__(node, name, config)
        return node

    def compute(self, err: FlyteError | None = None, **inputs: Any) -> Decided:
        """Send the alert for a failed execution.

        Args:
            err: The error, which Flyte passes under this name.
            inputs: The inputs of the workflow.
        """
        at, findings = _moment(inputs.get(self.config.at))
        where = f"node {err.failed_node_id}: {err.message}" if err else "Flyte did not say why"
        pulse = Heartbeat(
            at=at,
            # an error message can be long and can quote a key
            failure=SecretRedactor().text(where)[:1000],
        )
        return decide(self, [pulse], at=at, findings=findings)


def _moment(given: Any) -> tuple[datetime, tuple[str, ...]]:
    """The time of the window; now, and a finding, if it is none, for the page must go out."""
    now = datetime.now(timezone.utc)
    try:
        return (now if given is None else moment("at", given)), ()
    except ConfigError as error:
        return now, (str(error),)


def _with_inputs(
    report: Callable[..., Decided], inputs: Mapping[str, type]
) -> Callable[..., Decided]:
    """Give `report` a signature from which flytekit reads the workflow inputs and `err`."""

    def compute(**given: Any) -> Decided:
        return report(**given)

    annotations = {**inputs, "err": FlyteError | None}
    parameters = [
        inspect.Parameter(
            key,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=kind,
            default=None if key == "err" else inspect.Parameter.empty,
        )
        for key, kind in annotations.items()
    ]
    compute.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # read by inspect
        parameters, return_annotation=Decided
    )
    compute.__annotations__ = {**annotations, "return": Decided}
    return compute


def _type_to_json(kind: type) -> str:
    return MessageToJson(TypeEngine.to_literal_type(kind).to_flyte_idl(), indent=None)


def _type_from_json(text: str) -> type:
    literal_type = LiteralType.from_flyte_idl(Parse(text, LiteralTypeProto()))
    return TypeEngine.guess_python_type(literal_type)
