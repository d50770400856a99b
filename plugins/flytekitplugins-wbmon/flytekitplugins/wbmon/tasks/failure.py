"""The node that sends an alert when the monitoring workflow itself failed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from enum import Enum
from typing import Annotated, Any

from flytekit import FlyteContext
from flytekit.extend import Promise
from flytekit.models.literals import Literal, LiteralMap
from flytekit.types.error.error import FlyteError
from flytekit.types.pickle.pickle import FlytePickleTransformer

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
    """Settings of `MonitorFailure`; `inputs` are the names of the workflow's inputs."""

    inputs: tuple[str, ...]
    at: str = ""


# what a literal holds itself; all else is a URL, or says how to make a Python object
_PLAIN = (str, bool, int, float, date, timedelta, Enum, FlyteError)
# `Any`, of which flytekit does not warn that it would be pickled: its values are never read
_UNTOLD: Any = Annotated[Any, FlytePickleTransformer()]


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

    Each failed execution is reported once. Of the inputs only texts, numbers and times are read, so
    that files, data and records which are missing or damaged do not keep the alert back.

    Args:
        name: The task's name.
        inputs: Names and types of all inputs of the workflow; Flyte passes them to this node.
        at: Name of the input with the time of the window, a time or its ISO text; if empty, or if
            the input is None, the current time is used.
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
            inputs=tuple(inputs),
            at=at,
        )
        self._types = inputs
        super().__init__(name, settings, **with_channel_secrets(channels, task_kwargs))

    @classmethod
    def restore(cls, name: str, config: FailureSettings) -> MonitorFailure:
        """Rebuild the node from its settings, which do not say the types of the inputs."""
        node = cls.__new__(cls)
        node._types = dict.fromkeys(config.inputs, _UNTOLD)  # noqa: SLF001 - as the constructor would
        Node.__init__(node, name, config)
        return node

    def _typed_compute(self, config: FailureSettings) -> Callable[..., Any]:  # noqa: ARG002
        return _with_inputs(self.compute, self._types)

    def local_execute(self, ctx: FlyteContext, **kwargs: Any) -> Any:
        """Run outside a pod, where flytekit would first store what the inputs hold."""
        plain = {name: value for name, value in kwargs.items() if _is_plain(value)}
        return super().local_execute(ctx, **plain)

    # flytekit would open what the literals point to, which may be why the workflow failed
    def _literal_map_to_python_input(
        self,
        literal_map: LiteralMap,
        ctx: FlyteContext,  # noqa: ARG002
    ) -> dict[str, Any]:
        given = literal_map.literals
        return {name: _plain(given.get(name)) for name in self.python_interface.inputs}

    def compute(self, err: FlyteError | None = None, **inputs: Any) -> Decided:
        """Send the alert for a failed execution.

        Args:
            err: The error, which Flyte passes under this name.
            inputs: The inputs of the workflow; None for each that is no text, number or time.
        """
        at, findings = _moment(inputs.get(self.config.at))
        where = "Flyte did not say why"
        if isinstance(err, FlyteError):
            where = f"node {err.failed_node_id}: {err.message}"
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


def _is_plain(value: Any) -> bool:
    # a promise holds a literal already
    return isinstance(value, (*_PLAIN, Promise))


def _plain(literal: Literal | None) -> Any:
    """The text, number, time or error that a literal holds; None for any other."""
    scalar = literal.scalar if literal else None
    while scalar and scalar.union:
        scalar = scalar.union.value.scalar
    if scalar and scalar.error:
        return FlyteError(message=scalar.error.message, failed_node_id=scalar.error.failed_node_id)
    return scalar.primitive.value if scalar and scalar.primitive else None


def _with_inputs(
    report: Callable[..., Decided], inputs: Mapping[str, Any]
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
