"""`wandb_init`: a W&B run around anything that Flyte runs, and how a pod finds a mapped one."""

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
from flytekitplugins.wbmon.flyte.task_decorator import TaskDecorator
from flytekitplugins.wbmon.run.decorated_task import track_made_task, track_task
from flytekitplugins.wbmon.run.lifecycle import open_run
from flytekitplugins.wbmon.run.settings import (
    DEFAULT_API_HOST,
    DEFAULT_HOST,
    DeliveryMode,
    RankScope,
    RunSettings,
    by_position,
)

if TYPE_CHECKING:
    from flytekit import Secret

local_cache.keep_working_beside_weave()


class wandb_init(TaskDecorator):  # noqa: N801 - the name that flytekitplugins-wandb gave it
    """Run a task inside a W&B run.

    Works above and below `@task`, on async tasks, `@dynamic`, `@eager`, node instances, mapped
    tasks and plain functions. Made once, it can be put on many:

        tracked = wandb_init(project="payments", entity="ops", secret=Secret("wandb", "api_key"))

        @tracked
        @task
        def train(epochs: int) -> float: ...

    Inside the body `current_run()` and `wandb.run` are the run. The run's end tells the task's
    outcome. Above a task the secret is requested and the Flyte console is linked; below `@eager`
    flytekit gives no way to do so, so put it above.

    Args:
        task_function: What to track, for use without a call; normally left out.
        project: W&B project; needed unless `enabled=False`, `mode` is offline or disabled, or
            WANDB_PROJECT is set.
        entity: W&B user or team; needed as `project` is (WANDB_ENTITY).
        secret: A `flytekit.Secret` with the W&B key, a callable without arguments that returns
            it, or None for W&B's own environment. Read when the run opens.
        id: Id of the run, or a template of `{execution} {node} {attempt} {shard} {task} {date}`
            (`{date:%Y%m}`). None: in a pod `{execution}-{node}-{attempt}`, elsewhere W&B's choice.
        host: URL of the W&B pages.
        api_host: URL of the W&B API; WANDB_BASE_URL counts where this is left at its default.
        delivery: `spool` writes the run to disk and delivers it apart, so that W&B can never
            block or fail the task; `online` is W&B's own mode, for tasks that read from W&B.
        delivery_timeout_s: Seconds that delivery may add to the task.
        offline_store: URL of the folder for runs that could not be delivered; in a pod by default
            below the task's raw output prefix.
        rank_scope: Under torchrun, who opens a run: `global` rank 0, rank 0 of each `worker`, or
            `all`.
        enabled: False switches tracking off; `current_run()` then does nothing.
        log_artifacts: Upload the task's configuration, metrics, plots and reports as one artifact.
        **init_kwargs: Arguments of `wandb.init`. `dir` may name an input of the task, also one of
            type FlyteDirectory.

    Raises:
        ConfigError: If an argument cannot work; it is also a `ValueError`.
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
        host: str = DEFAULT_HOST,
        api_host: str = DEFAULT_API_HOST,
        *,
        delivery: DeliveryMode = "spool",
        delivery_timeout_s: float = 30.0,
        offline_store: str | None = None,
        rank_scope: RankScope = "global",
        enabled: bool = True,
        log_artifacts: bool = False,
        **init_kwargs: Any,
    ) -> None:
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
        """The decorator that `to_config` described."""
        decorator: wandb_init = object.__new__(cls)
        decorator.settings = RunSettings.from_config(config)
        return decorator

    @classmethod
    def from_yaml(cls, path: str | Path, **arguments: Any) -> wandb_init:
        """The decorator that the `wandb:` section of a YAML file describes.

        The section may have `enabled project entity group run_name tags notes mode log_artifacts`;
        W&B's environment variables win over it. The whole file goes into the run's config, and
        into the log, with secrets hidden.

        Args:
            path: The file.
            arguments: What a file does not say: `secret`, `delivery` …; these win over the file.

        Raises:
            ConfigError: If the file cannot be read, or says what it may not.
        """
        from flytekitplugins.wbmon.run.config_file import resolve

        config, whole = resolve(path)
        decorator: wandb_init = cls(**{"config": whole, **config.to_arguments(), **arguments})
        return decorator

    def _on_task(self, task: Any) -> Any:
        return track_task(task, self.settings, self._around, TrackedTaskResolver)

    def _made_a_task(self, task: Any) -> None:
        track_made_task(task, self.settings)

    def _context(self, task: str, inputs: Mapping[str, Any]) -> AbstractContextManager[Any]:
        return open_run(self.settings, task=task, inputs=inputs)


class TrackedTaskResolver(TaskResolverMixin):
    """Finds a tracked task that no variable of a module holds, as what is mapped.

    It finds the untracked task as the task's own resolver does, then tracks it.
    """

    def __init__(self, inner: Any = None, settings: RunSettings | None = None) -> None:
        self._inner = inner
        self._config = None if settings is None else settings.to_config()

    @property
    def location(self) -> str:
        """Where the pod finds the resolver that loads the task."""
        return f"{__name__}.tracked_task_resolver"

    def name(self) -> str:
        """Name of the resolver."""
        return "TrackedTaskResolver"

    def loader_args(self, settings: Any, t: Any) -> list[str]:  # noqa: ARG002 - flytekit's signature
        """The `wandb_init` arguments as JSON, then how the untracked task is found."""
        resolver = self._inner.task_resolver
        own = resolver.loader_args(settings, self._inner)
        return ["wandb-init", json.dumps(self._config), "resolver", resolver.location, *own]

    def load_task(self, loader_args: list[str]) -> Any:
        """The task, tracked."""
        _, config, _, location, *own = loader_args
        module, _, name = location.rpartition(".")
        inner = getattr(import_module(module), name).load_task(own)
        return wandb_init.from_config(json.loads(config))(copy.copy(inner))

    def get_all_tasks(self) -> list[Any]:
        """Never called."""
        raise NotImplementedError


tracked_task_resolver = TrackedTaskResolver()
