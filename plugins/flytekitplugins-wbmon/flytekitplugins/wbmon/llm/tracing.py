"""`weave_init`: Weave traces around anything that Flyte runs; the sibling of `wandb_init`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.llm.session import current_trace, open_trace
from flytekitplugins.wbmon.llm.trace_settings import TraceSettings
from flytekitplugins.wbmon.run import local_cache
from flytekitplugins.wbmon.run.decorators import note_decorator
from flytekitplugins.wbmon.run.flyte_task import is_trackable_task, with_secret
from flytekitplugins.wbmon.run.settings import (
    DEFAULT_API_HOST,
    DEFAULT_HOST,
    RunSettings,
    by_position,
)

if TYPE_CHECKING:
    from flytekit import Secret

local_cache.keep_working_beside_weave()


class weave_init:  # noqa: N801 - the sibling of wandb_init
    """Trace a task with Weave: the task is one call, and every op inside it is below.

    Works where `wandb_init` does, and together with it: above and below `@task`, on async tasks,
    nodes and plain functions; a mapped task is traced by tracing the task that is mapped. Traces
    are written to disk and sent by a process apart, so Weave can never block or fail the task, and
    an outage loses nothing: what is not confirmed is kept in the offline store.

    Args:
        task_function: What to trace, for use without a call; normally left out.
        project: W&B project; needed as for `wandb_init`.
        entity: W&B user or team.
        secret: A `flytekit.Secret` with the W&B key, or a callable that returns it.
        id: Thread id of the traces, or a template as for `wandb_init`; in a pod
            `{execution}-{node}-{attempt}` by default.
        host: URL of the W&B pages.
        api_host: URL of the W&B API.
        trace_host: URL of the trace server; what belongs to `api_host` by default.
        delivery_timeout_s: Seconds that delivery may add to the task.
        offline_store: URL of the folder for traces that could not be delivered; in a pod by default
            below the task's raw output prefix.
        patch: Client libraries whose calls are traced, such as `openai`. Nothing else is patched:
            a call that goes through two of them is one trace only if one is named.
        redact: Applied to each text of inputs, outputs, attributes, exceptions and feedback before
            it is written. What it fails on is not recorded.
        capture_code: Record the source of ops and the source lines of exceptions.
        call_log: Destination of a call log, for a row of each call that used tokens.
        mode: `offline` keeps the traces on disk; `disabled` switches tracing off.
        enabled: False switches tracing off.

    Raises:
        ConfigError: If an argument cannot work; it is also a `ValueError`.
    """

    def __new__(cls, task_function: Any = None, /, *args: Any, **kwargs: Any) -> Any:
        """The decorator, or what it decorates if that is given at once."""
        if task_function is None or isinstance(task_function, str):
            return super().__new__(cls)
        return cls(*args, **kwargs)(task_function)

    def __init__(  # noqa: PLR0913 - those of its sibling, and its own
        self,
        task_function: Callable[..., Any] | str | None = None,
        /,
        project: str | None = None,
        entity: str | None = None,
        secret: Secret | Callable[[], str] | None = None,
        id: str | None = None,  # noqa: A002 - wandb's name
        host: str = DEFAULT_HOST,
        api_host: str = DEFAULT_API_HOST,
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

    def __call__(self, target: Any) -> Any:
        """Trace a function, a task or a node; a task is changed in place and returned."""
        if is_trackable_task(target):
            return self._trace_task(target)
        if not inspect.isroutine(target) and not isinstance(target, functools.partial):
            raise ConfigError(
                f"weave_init goes on a function, a task or a node, got {type(target).__name__}"
            )
        traced = self._trace(target, _full_name(target))
        traced.__dict__ = _TracedAttributes(traced.__dict__, self)
        return traced

    def __repr__(self) -> str:
        return f"weave_init({self.settings!r})"

    def to_config(self) -> dict[str, Any]:
        """The arguments as JSON data, a secret by group and key only.

        Raises:
            ConfigError: If an argument is a callable.
        """
        return self.settings.to_config()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> weave_init:
        """The decorator that `to_config` described."""
        decorator: weave_init = object.__new__(cls)
        decorator.settings = TraceSettings.from_config(config)
        return decorator

    def request_secret(self, task: Any) -> None:
        """Add the key to what a task asks of Flyte."""
        if self.settings.run.enabled:
            asked = with_secret(task.security_context, self.settings.run.secret)
            task._security_ctx = asked  # noqa: SLF001 - no public way

    def _trace_task(self, task: Any) -> Any:
        if hasattr(task, "python_function_task"):
            raise ConfigError(
                "weave_init goes on the task that is mapped, not on the mapped task: "
                "map_task(traced(score))"
            )
        if hasattr(task, "task_function"):
            task._task_function = self._trace(task.task_function, task.name)  # noqa: SLF001
        else:
            task.execute = self._trace(task.execute, task.name)
        note_decorator(task, self)
        self.request_secret(task)
        return task

    def _trace(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigError(
                f"weave_init cannot trace the generator {name}: its trace would have no end; "
                "decorate the function that consumes it"
            )
        settings = self.settings
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run_coroutine(*args: Any, **kwargs: Any) -> Any:
                with open_trace(settings, task=name, inputs=kwargs):
                    return _published(await function(*args, **kwargs))

            return run_coroutine

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with open_trace(settings, task=name, inputs=kwargs):
                return _published(function(*args, **kwargs))

        return run


def _published(outputs: Any) -> Any:
    """The task's outputs as Flyte takes them; evaluations among them are shown in Weave too."""
    from flytekitplugins.wbmon.llm.weave_client import plain
    from flytekitplugins.wbmon.llm.weave_evaluation import publish_evaluations

    session = current_trace()
    if session is None or session.client is None:
        return outputs
    publish_evaluations(outputs if isinstance(outputs, tuple) else (outputs,))
    return plain(outputs)


def _full_name(target: Any) -> str:
    function = target.func if isinstance(target, functools.partial) else target
    return f"{function.__module__}.{function.__name__}"


class _TracedAttributes(dict[str, Any]):
    """The `__dict__` of a traced function.

    Below `@task` there is no task yet to ask for a secret. flytekit copies a function's attributes
    onto the task it has just made of it, and reading them is the sign that it did.
    """

    def __init__(self, attributes: dict[str, Any], decorator: weave_init) -> None:
        super().__init__(attributes)
        self._decorator = decorator

    def keys(self) -> Any:
        """The names; asked for while flytekit makes the task."""
        from flytekit.core.context_manager import FlyteEntities

        for task in reversed(FlyteEntities.entities):
            function = getattr(task, "_task_function", None)
            if function is not None and getattr(function, "__dict__", None) is self:
                self._decorator.request_secret(task)
                break
        return super().keys()

    def __iter__(self) -> Iterator[str]:
        # with an `__iter__` of its own, dict.update() reads this dictionary by keys()
        return super().__iter__()

    def __reduce__(self) -> Any:
        return dict, (dict(super().items()),)
