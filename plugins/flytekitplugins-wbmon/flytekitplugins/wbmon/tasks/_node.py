"""The base of all nodes: a Flyte task whose behaviour is its configuration, which travels with it.

A node can be made anywhere: at module level, in a list, in a function, inside `map_task`. Its
configuration goes into the task's container arguments, so a pod rebuilds it without the user's
module. What `wandb_init` put on it travels the same way; only what cannot be written down (a
callable secret) needs the node to be a variable of a module, where flytekit finds it by its name.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, get_args

from flytekit import PythonInstanceTask, TaskMetadata
from flytekit.extend import TaskResolverMixin

import flytekitplugins.wbmon.flyte.type_transformers  # noqa: F401 - teaches flytekit our records
from flytekitplugins.wbmon import __version__
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.carried_decorators import decorate, decorators_to_config
from flytekitplugins.wbmon.flyte.internals import interface_of
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json
from flytekitplugins.wbmon.run.artifact_lock import making_artifacts
from flytekitplugins.wbmon.run.decorated_task import tracking_of
from flytekitplugins.wbmon.run.decorator import wandb_init
from flytekitplugins.wbmon.run.lifecycle import current_run

if TYPE_CHECKING:
    from flytekit.configuration import SerializationSettings
    from flytekit.core.base_task import Task

C = TypeVar("C")


class Node(PythonInstanceTask[C], Generic[C]):
    """A task with a typed `compute`; the reports it returns go to the Deck and the open W&B run.

    Args:
        name: Unique in the project, like every task's name: `payments.drift`.
        config: The node's settings: a record, so that it can travel in the container arguments.
        cache: Let Flyte reuse the outputs of a run with the same inputs and configuration.
        retries: Attempts after a recoverable failure.
        timeout: Longest time of one attempt.
        task_kwargs: What any task takes: `requests`, `limits`, `container_image`, `environment`,
            `secret_requests`, `pod_template` …

    Raises:
        ConfigError: If the name is empty.
    """

    def __init__(
        self,
        name: str,
        config: C,
        *,
        cache: bool = False,
        retries: int = 0,
        timeout: timedelta | None = None,
        **task_kwargs: Any,
    ) -> None:
        if not name:
            raise ConfigError("a node must have a name that is unique in its project, got none")
        metadata = TaskMetadata(
            cache=cache,
            cache_version=_fingerprint(config) if cache else "",
            retries=retries,
            timeout=timeout,
        )
        interface = interface_of(self.compute, documented=type(self).compute)
        super().__init__(
            name=name,
            task_config=config,
            interface=interface,
            metadata=metadata,
            **{"enable_deck": True, "deck_fields": (), **task_kwargs},
        )

    compute: ClassVar[Any]
    """The node's work, with its inputs and outputs as type annotations; subclasses define it."""

    @classmethod
    def restore(cls, name: str, config: C) -> Node[C]:
        """The node of this class with these settings, without its own constructor."""
        node = cls.__new__(cls)
        Node.__init__(node, name, config)
        return node

    @property
    def config(self) -> C:
        """The node's settings."""
        return self.task_config

    def execute(self, **inputs: Any) -> Any:
        """Do the work, then show the reports; a report that cannot be shown fails nothing."""
        from flytekitplugins.wbmon.publish.lineage import publish_lineage
        from flytekitplugins.wbmon.publish.report import publish_reports

        outputs = self.compute(**inputs)
        made = outputs if isinstance(outputs, tuple) else (outputs,)
        with making_artifacts():
            publish_reports(made, run=current_run())
            publish_lineage(inputs, made, run=current_run())
        return outputs

    @property
    def lhs(self) -> str:
        """A name for `map_task`, which wants one even where no variable holds the node."""
        return re.sub(r"\W", "_", self.name) if self._is_portable() else super().lhs

    @property
    def task_resolver(self) -> TaskResolverMixin:
        """Our own resolver, unless something on the node cannot be written down."""
        return node_resolver if self._is_portable() else super().task_resolver

    def _is_portable(self) -> bool:
        tracking = tracking_of(self)
        try:
            decorators_to_config(self)
            if tracking is not None:
                tracking.to_config()
        except ConfigError:
            return False
        return True


class NodeResolver(TaskResolverMixin):
    """Rebuilds a node in a pod from its container arguments."""

    @property
    def location(self) -> str:
        """Where flytekit imports this resolver from."""
        return f"{__name__}.node_resolver"

    def name(self) -> str:
        """The resolver's name."""
        return "NodeResolver"

    def loader_args(self, settings: SerializationSettings, t: Task) -> list[str]:  # noqa: ARG002
        """Class, name, configuration and tracking of a node."""
        if not isinstance(t, Node):
            raise ConfigError(f"NodeResolver resolves nodes of this package, got {type(t)}")
        tracking = tracking_of(t)
        return [
            "node",
            f"{type(t).__module__}:{type(t).__qualname__}",
            "name",
            t.name,
            "config",
            record_to_json(t.config),
            "tracking",
            json.dumps(tracking.to_config()) if tracking is not None else "",
            "decorators",
            json.dumps(decorators_to_config(t)),
        ]

    def load_task(self, loader_args: list[str]) -> Task:
        """The node that `loader_args` described."""
        _, place, _, name, _, config, _, tracking, _, decorators = loader_args
        module, _, qualname = place.partition(":")
        kind: type[Node[Any]] = getattr(import_module(module), qualname)
        node = kind.restore(name, record_from_json(_config_type(kind), config))
        node = decorate(node, json.loads(decorators))
        return wandb_init.from_config(json.loads(tracking))(node) if tracking else node

    def get_all_tasks(self) -> list[Task]:
        """Nothing to list: nodes belong to the modules that make them."""
        return []


node_resolver = NodeResolver()


def _config_type(kind: type[Node[Any]]) -> type[Any]:
    bases = getattr(kind, "__orig_bases__", ())
    return next(get_args(base)[0] for base in bases if get_args(base))


def _fingerprint(config: Any) -> str:
    digest = hashlib.sha256(record_to_json(config).encode()).hexdigest()[:12]
    return f"{__version__}-{digest}"
