"""`wandb_init`, which runs a task inside a W&B run, and the resolver that loads it in a pod."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekit.extend import TaskResolverMixin

from flytekitplugins.wbmon.flyte import local_cache
from flytekitplugins.wbmon.flyte.id_inputs import check_inputs
from flytekitplugins.wbmon.flyte.shared_urls import Urls
from flytekitplugins.wbmon.flyte.task_decorator import TaskDecorator
from flytekitplugins.wbmon.run.decorated_task import track_made_task, track_task
from flytekitplugins.wbmon.run.lifecycle import open_run
from flytekitplugins.wbmon.run.settings import (
    DeliveryMode,
    RankScope,
    RunSettings,
    by_position,
)

if TYPE_CHECKING:
    from flytekit import Secret

# at import: flytekit opens its cache with the first cached task, whether it is tracked or not
local_cache.keep_working_beside_weave()


class wandb_init(TaskDecorator):  # noqa: N801 - the name that flytekitplugins-wandb gave it
    """Run a task inside a W&B run.

    It works above and below `@task`, on async tasks, `@dynamic`, `@eager`, node instances, mapped
    tasks and plain functions. One decorator can be used for many tasks:

        tracked = wandb_init(project="payments", entity="ops", secret=Secret("wandb", "api_key"))

        @tracked
        @task
        def train(epochs: int) -> float: ...

    Inside the body `current_run()` and `wandb.run` return the run. The run ends as finished or
    failed, like the task. On a task, the decorator also requests the secret and adds a link to W&B
    to the Flyte console. Below `@eager` flytekit offers no way to do this, so put it above.

    Args:
        task_function: The function or task to track, for use without parentheses; normally left
            out.
        project: W&B project. Required unless `enabled=False`, `mode` is offline or disabled, or
            WANDB_PROJECT is set.
        entity: W&B user or team. Required under the same conditions (WANDB_ENTITY).
        secret: A `flytekit.Secret` with the W&B key, a callable without arguments that returns
            the key, or None to use W&B's own environment. It is read when the run opens.
        id: Id of the run, or a template of `{execution} {node} {attempt} {shard} {task} {date}`
            and inputs of the task, such as `{inputs.region}`. `{date}` is the one date among the
            inputs (`{date:%Y%m}` formats it, in UTC); `{inputs.night:%Y%m}` says which of several.
            Without a date, or if it is None, it is the day on which the pod starts, which is not
            that of a backfilled night. If None, the name of the pod, `{execution}-{node}-{attempt}`
            or its hash if that has more than 50 characters; outside a pod W&B chooses the id.
        host: URL of the W&B pages; None for WANDB_APP_URL, or the pages that belong to the API.
            The link in the Flyte console is made when the task is registered, with the
            environment of that machine.
        api_host: URL of the W&B API; None for WANDB_BASE_URL where the task runs, or
            https://api.wandb.ai.
        delivery: `spool` writes the run to disk and delivers it from a separate process, so that
            W&B can never block or fail the task. `online` is W&B's own mode, for tasks that read
            from W&B.
        delivery_timeout_s: Longest time in seconds that the delivery may add to the task.
        offline_store: URL of the folder for runs that could not be delivered. By default it is
            below the task's raw output prefix in a pod.
        rank_scope: Which processes open a run under torchrun: `global` (rank 0 only), `worker`
            (local rank 0 of each worker) or `all`.
        enabled: False switches tracking off; `current_run()` then returns a run that does nothing.
        log_artifacts: Upload the task's configuration, metrics, plots and reports as one artifact.
        **init_kwargs: Arguments of `wandb.init`. `dir` may be the name of a task input, which may
            be a FlyteDirectory.

    Raises:
        ConfigError: If an argument is invalid; it is also a `ValueError`.
    """

    _verb = "track"
    settings: RunSettings

    def __init__(  # noqa: PLR0913 - the arguments of the plugin it takes over from, and its own
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
        delivery: DeliveryMode = "spool",
        delivery_timeout_s: float = 30.0,
        offline_store: str | None = None,
        rank_scope: RankScope = "global",
        enabled: bool = True,
        log_artifacts: bool = False,
        **init_kwargs: Any,
    ) -> None:
        # flytekitplugins-wandb takes the function first; users pass the project first
        if isinstance(task_function, str):
            project, entity, secret, id = by_position(  # noqa: A001
                task_function, project, entity, secret, id
            )
        self.settings = RunSettings(
            project=project,
            entity=entity,
            secret=secret,
            id=id,
            host=host,
            api_host=api_host,
            delivery=delivery,
            delivery_timeout_s=delivery_timeout_s,
            offline_store=offline_store,
            rank_scope=rank_scope,
            enabled=enabled,
            log_artifacts=log_artifacts,
            init=init_kwargs,
        )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> wandb_init:
        """The decorator from the configuration that `to_config` returned."""
        # not through `__new__` and `__init__`, which take arguments and not settings
        decorator: wandb_init = object.__new__(cls)
        decorator.settings = RunSettings.from_config(config)
        return decorator

    @classmethod
    def from_yaml(cls, path: str | Path, **arguments: Any) -> wandb_init:
        """The decorator from the `wandb:` section of a YAML file.

        The section may have `enabled project entity group run_name tags notes mode log_artifacts`.
        W&B's environment variables override it. The whole file is stored in the run's config and
        written to the log, with secrets hidden.

        Args:
            path: Path of the file.
            arguments: Further arguments, such as `secret` and `delivery`; they override the file.

        Raises:
            ConfigError: If the file cannot be read, or has an unknown key or an invalid value.
        """
        from flytekitplugins.wbmon.run.config_file import resolve

        config, whole = resolve(path)
        decorator: wandb_init = cls(**{"config": whole, **config.to_arguments(), **arguments})
        return decorator

    def _check_inputs(self, inputs: Mapping[str, Any] | None, task: str) -> None:
        check_inputs(self.settings.id or "", inputs, task)

    def _on_task(self, task: Any) -> Any:
        return track_task(task, self.settings, self._around, TrackedTaskResolver)

    def _made_a_task(self, task: Any) -> None:
        track_made_task(task, self.settings)

    def _context(self, task: str, inputs: Mapping[str, Any]) -> AbstractContextManager[Any]:
        return open_run(self.settings, task=task, inputs=inputs)

    @property
    def _shared_urls(self) -> Urls:
        return {"offline_store": self.settings.offline_store} if self.settings.enabled else {}


class TrackedTaskResolver(TaskResolverMixin):
    """Task resolver for a tracked task that no module variable holds, such as a mapped task.

    It loads the untracked task with the task's own resolver and then decorates it.

    Args:
        inner: The untracked task; None in the pod.
        settings: The arguments of `wandb_init`; None in the pod.
    """

    def __init__(self, inner: Any = None, settings: RunSettings | None = None) -> None:
        self._inner = inner
        self._config = None if settings is None else settings.to_config()

    @property
    def location(self) -> str:
        """Import path of the resolver that the pod uses."""
        # the instance at module level: it loads any task, from the arguments alone
        return f"{__name__}.tracked_task_resolver"

    def name(self) -> str:
        """Name of the resolver."""
        return "TrackedTaskResolver"

    def loader_args(self, settings: Any, t: Any) -> list[str]:  # noqa: ARG002 - flytekit's signature
        """Arguments of `load_task`: the settings as JSON, then those of the task's own resolver."""
        # the pod imports the module again and finds the untracked task there
        resolver = self._inner.task_resolver
        own = resolver.loader_args(settings, self._inner)
        return ["wandb-init", json.dumps(self._config), "resolver", resolver.location, *own]

    def load_task(self, loader_args: list[str]) -> Any:
        """Load the untracked task and return it decorated."""
        _, config, _, location, *own = loader_args
        module, _, name = location.rpartition(".")
        inner = getattr(import_module(module), name).load_task(own)
        # a copy: decorating changes the task, and the module's variable must stay untracked
        return wandb_init.from_config(json.loads(config))(copy.copy(inner))

    def get_all_tasks(self) -> list[Any]:
        """Not supported; flytekit does not call it for this resolver."""
        raise NotImplementedError


tracked_task_resolver = TrackedTaskResolver()
