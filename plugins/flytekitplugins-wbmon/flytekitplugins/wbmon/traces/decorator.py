"""`weave_init`: Weave traces of Flyte tasks and functions, the counterpart of `wandb_init`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte import internals, local_cache
from flytekitplugins.wbmon.flyte.carried_decorators import note_decorator
from flytekitplugins.wbmon.flyte.id_inputs import check_inputs
from flytekitplugins.wbmon.flyte.secrets import with_secret
from flytekitplugins.wbmon.flyte.shared_urls import Urls
from flytekitplugins.wbmon.flyte.task_decorator import TaskDecorator
from flytekitplugins.wbmon.run.settings import (
    RunSettings,
    by_position,
)
from flytekitplugins.wbmon.traces.session import current_trace, open_trace
from flytekitplugins.wbmon.traces.settings import TraceSettings

if TYPE_CHECKING:
    from flytekit import Secret

local_cache.keep_working_beside_weave()


class weave_init(TaskDecorator):  # noqa: N801 - the sibling of wandb_init
    """Trace a task with Weave: the task becomes a call, and the ops inside it its descendants.

    It works wherever `wandb_init` does, and together with it: above and below `@task`, on async
    tasks, nodes and plain functions. To trace a mapped task, trace the task that is mapped. Traces
    are written to disk and sent by a separate process, so Weave cannot block or fail the task.
    What the server has not confirmed is kept in the offline store, so an outage loses no traces.

    Args:
        task_function: The function to trace, for use as `@weave_init`; normally left out.
        project: W&B project; required as for `wandb_init`.
        entity: W&B user or team.
        secret: A `flytekit.Secret` with the W&B key, or a callable that returns it.
        id: Thread id of the traces, or a template as for `wandb_init`; in a pod
            the name of the pod by default.
        host: URL of the W&B pages, as for `wandb_init`.
        api_host: URL of the W&B API, as for `wandb_init`.
        trace_host: URL of the trace server; by default WF_TRACE_SERVER_URL, or the one that
            belongs to the API. The variable applies to the API of WANDB_BASE_URL, or of the cloud.
        delivery_timeout_s: Maximum seconds by which delivery may prolong the task.
        offline_store: URL of the folder for traces that could not be delivered; in a pod by default
            below the task's raw output prefix.
        patch: Client libraries whose calls are traced, such as `openai`. No others are patched. If
            one library calls another, name only one of them, or a call appears twice.
        redact: Applied to each text of inputs, outputs, attributes, exceptions and feedback before
            it is written. A text on which it raises is not recorded.
        capture_code: Whether to record the source of ops and the source lines of exceptions.
        call_log: Folder of a call log that gets a row for each call that used tokens; empty for
            none.
        mode: `offline` keeps the traces on disk; `disabled` switches tracing off.
        enabled: False switches tracing off.

    Raises:
        ConfigError: If an argument is invalid; it is also a `ValueError`.
    """

    _verb = "trace"
    settings: TraceSettings

    def __init__(  # noqa: PLR0913 - those of its sibling, and its own
        self,
        task_function: Callable[..., Any] | str | None = None,
        /,
        project: str | None = None,
        entity: str | None = None,
        secret: Secret | Callable[[], str] | None = None,
        id: str | None = None,  # noqa: A002 - wandb's name
        host: str | None = None,
        api_host: str | None = None,
        *,
        trace_host: str = "",
        delivery_timeout_s: float = 30.0,
        offline_store: str | None = None,
        patch: Sequence[str] = (),
        redact: Callable[[str], str] | None = None,
        capture_code: bool = False,
        call_log: str = "",
        mode: str | None = None,
        enabled: bool = True,
    ) -> None:
        if isinstance(task_function, str):
            project, entity, secret, id = by_position(  # noqa: A001
                task_function, project, entity, secret, id
            )
        run = RunSettings(
            project=project,
            entity=entity,
            secret=secret,
            id=id,
            host=host,
            api_host=api_host,
            delivery_timeout_s=delivery_timeout_s,
            offline_store=offline_store,
            enabled=enabled,
            init={} if mode is None else {"mode": mode},
        )
        self.settings = TraceSettings(
            run=run,
            trace_host=trace_host,
            patch=tuple(patch),
            redact=redact,
            capture_code=capture_code,
            call_log=call_log,
        )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> weave_init:
        """Restore the decorator from the result of `to_config`."""
        # the settings were checked when they were made, and `__init__` has other arguments
        decorator: weave_init = object.__new__(cls)
        decorator.settings = TraceSettings.from_config(config)
        return decorator

    def _check_inputs(self, inputs: Mapping[str, Any] | None, task: str) -> None:
        check_inputs(self.settings.run.id or "", inputs, task)

    def _on_task(self, task: Any) -> Any:
        if internals.mapped_task(task) is not None:
            raise ConfigError(
                "weave_init goes on the task that is mapped, not on the mapped task: "
                "map_task(traced(score))"
            )
        internals.wrap_body(task, self._around)
        note_decorator(task, self)
        self._made_a_task(task)
        return task

    def _made_a_task(self, task: Any) -> None:
        if self.settings.run.enabled:
            asked = with_secret(task.security_context, self.settings.run.secret)
            internals.set_security_context(task, asked)

    def _context(self, task: str, inputs: Mapping[str, Any]) -> AbstractContextManager[Any]:
        return open_trace(self.settings, task=task, inputs=inputs)

    @property
    def _shared_urls(self) -> Urls:
        run, call_log = self.settings.run, self.settings.call_log
        return {"offline_store": run.offline_store, "call_log": call_log} if run.enabled else {}

    def _outputs(self, outputs: Any, function: Callable[..., Any]) -> Any:
        """Convert the outputs to types that Flyte accepts, and publish evaluations among them."""
        from flytekitplugins.wbmon.traces.evaluations import publish_evaluations
        from flytekitplugins.wbmon.traces.weave_client import note_returned, plain

        session = current_trace()
        if session is None or session.client is None:
            return outputs
        publish_evaluations(outputs if isinstance(outputs, tuple) else (outputs,))
        returned = plain(outputs)
        declared = getattr(function, "__annotations__", {}).get("return")
        note_returned(returned, is_declared=declared not in (None, "None", type(None)))
        return returned
