"""How a pod finds a task that was tracked where no variable of a module holds it."""

from __future__ import annotations

import copy
import json
from importlib import import_module
from typing import Any

from flytekit.extend import TaskResolverMixin

from flytekitplugins.wbmon.run.settings import RunSettings


class TrackedTaskResolver(TaskResolverMixin):
    """Finds the untracked task as its own resolver does, then tracks it."""

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
        from flytekitplugins.wbmon.run.decorator import wandb_init

        _, config, _, location, *own = loader_args
        module, _, name = location.rpartition(".")
        inner = getattr(import_module(module), name).load_task(own)
        return wandb_init.from_config(json.loads(config))(copy.copy(inner))

    def get_all_tasks(self) -> list[Any]:
        """Never called."""
        raise NotImplementedError


tracked_task_resolver = TrackedTaskResolver()
