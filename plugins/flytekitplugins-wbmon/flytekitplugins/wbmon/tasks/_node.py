"""Base class of all nodes: a Flyte task that is fully described by its configuration.

A node can be made anywhere: at module level, in a list, in a function, inside `map_task`. Its
configuration goes into the task's container arguments, so a pod rebuilds it without the user's
module. The arguments of `wandb_init` are passed the same way. Only what cannot be serialised (a
callable secret) requires the node to be a module-level variable, which flytekit finds by its name.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from datetime import timedelta
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, get_args

from flytekit import PythonInstanceTask
from flytekit.deck import DeckField
from flytekit.extend import TaskResolverMixin

import flytekitplugins.wbmon.flyte.type_transformers  # noqa: F401 - teaches flytekit our records
from flytekitplugins.wbmon import __version__
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.carried_decorators import decorate, decorators_to_config
from flytekitplugins.wbmon.flyte.internals import interface_of
from flytekitplugins.wbmon.flyte.main_module import module_in_pod
from flytekitplugins.wbmon.flyte.memory import (
    container_with_memory,
    pod_with_memory,
    primary_container,
)
from flytekitplugins.wbmon.flyte.shared_urls import require_shared, require_shared_in_pod
from flytekitplugins.wbmon.flyte.store_outage import retried_by_flyte
from flytekitplugins.wbmon.flyte.task_arguments import constructor_arguments, with_deck
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json
from flytekitplugins.wbmon.run.artifact_lock import making_artifacts
from flytekitplugins.wbmon.run.decorated_task import tracking_of
from flytekitplugins.wbmon.run.decorator import wandb_init
from flytekitplugins.wbmon.run.lifecycle import current_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flytekit import Cache, FlyteContext
    from flytekit.configuration import SerializationSettings
    from flytekit.core.base_task import Task
    from flytekit.models.literals import LiteralMap

C = TypeVar("C")


class Node(PythonInstanceTask[C], Generic[C]):
    """A task with a typed `compute`; its reports are shown in the Deck and the open W&B run.

    Args:
        name: Task name, unique in the project, such as `payments.drift`.
        config: Settings of the node, as a record that can be written to the container arguments.
        cache: Whether Flyte may reuse outputs of a run with the same inputs and configuration; a
            `flytekit.Cache` may add a version to that of the configuration.
        retries: Number of further attempts after a recoverable failure.
        timeout: Time limit of one attempt.
        task_kwargs: Other task arguments: `requests`, `limits`, `container_image`, `environment`,
            `secret_requests`, `pod_template`, `interruptible`, `cache_version` … Without one for
            memory the node requests 1 GiB.

    Raises:
        ConfigError: If the name is empty, or no task takes an argument of this name.
    """

    def __init__(
        self,
        name: str,
        config: C,
        *,
        cache: bool | Cache = False,
        retries: int = 0,
        timeout: timedelta | None = None,
        **task_kwargs: Any,
    ) -> None:
        if not name:
            raise ConfigError("a node must have a name that is unique in its project, got none")
        arguments = constructor_arguments(
            {"cache": cache, "retries": retries, "timeout": timeout, **task_kwargs},
            cache_version=_fingerprint(config) if cache else "",
            called=f"{type(self).__name__} {name!r}",
            settings=inspect.signature(type(self).__init__).parameters,
        )
        super().__init__(
            name=name,
            task_config=config,
            interface=interface_of(self._typed_compute(config), documented=type(self).compute),
            **with_deck(arguments),
        )

    compute: ClassVar[Any]
    """The work of the node, defined by subclasses; its annotations are the inputs and outputs."""

    def _typed_compute(self, config: C) -> Callable[..., Any]:  # noqa: ARG002 - for subclasses
        """What flytekit reads the inputs and outputs from; for types that the settings name."""
        compute: Callable[..., Any] = self.compute
        return compute

    shared_urls: ClassVar[tuple[str, ...]] = ()
    """Settings and inputs that name files which outlive the pod, or which other pods need."""

    @classmethod
    def restore(cls, name: str, config: C) -> Node[C]:
        """Rebuild a node from its settings, without calling the constructor of the subclass."""
        # the arguments of a subclass constructor are not stored, only the settings it made of them
        node = cls.__new__(cls)
        Node.__init__(node, name, config)
        return node

    @property
    def config(self) -> C:
        """Settings of the node."""
        return self.task_config

    def dispatch_execute(self, ctx: FlyteContext, input_literal_map: LiteralMap) -> Any:
        """Read the inputs, run and write the outputs, as flytekit does."""
        with retried_by_flyte():
            return super().dispatch_execute(ctx, input_literal_map)

    def execute(self, **inputs: Any) -> Any:
        """Run `compute` and publish its reports; errors in publishing do not fail the task."""
        given = {name: inputs[name] for name in self.shared_urls if name in inputs}
        require_shared_in_pod(self._called, {**self._shared_settings, **given})
        with retried_by_flyte():
            outputs = self.compute(**inputs)
        with making_artifacts():
            self._publish(inputs, outputs)
        return outputs

    def _publish(self, inputs: Mapping[str, Any], outputs: Any) -> None:
        from flytekitplugins.wbmon.publish.lineage import publish_lineage
        from flytekitplugins.wbmon.publish.report import publish_reports

        made = outputs if isinstance(outputs, tuple) else (outputs,)
        publish_reports(made, run=current_run())
        publish_lineage(inputs, made, run=current_run())

    def get_config(self, settings: SerializationSettings) -> dict[str, str] | None:
        """The config that Flyte registers; what only one pod would see is refused here."""
        # flytekit asks for it whenever it compiles a task for a cluster: plain, mapped or dynamic
        require_shared(self._called, self._shared_settings)
        config: dict[str, str] | None = super().get_config(settings)
        return config

    @property
    def _called(self) -> str:
        return f"{type(self).__name__} {self.name!r}"

    @property
    def _shared_settings(self) -> dict[str, Any]:
        return {name: getattr(self.config, name, None) for name in self.shared_urls}

    @property
    def lhs(self) -> str:
        """A variable name for `map_task`, which needs one even if no variable holds the node."""
        return re.sub(r"\W", "_", self.name) if self._is_portable() else super().lhs

    @property
    def task_resolver(self) -> TaskResolverMixin:
        """`node_resolver`, unless the node has something that cannot be serialised."""
        return node_resolver if self._is_portable() else super().task_resolver

    def get_container(self, settings: SerializationSettings) -> Any:
        """What Flyte registers; requests memory, unless the user did."""
        return container_with_memory(super().get_container(settings))

    def get_k8s_pod(self, settings: SerializationSettings) -> Any:
        """The same for a node with a pod template."""
        return pod_with_memory(super().get_k8s_pod(settings), primary_container(self))

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
    """Task resolver that rebuilds a node in a pod from its container arguments."""

    @property
    def location(self) -> str:
        """Import path of this resolver for flytekit."""
        return f"{__name__}.node_resolver"

    def name(self) -> str:
        """Name of the resolver."""
        return "NodeResolver"

    def loader_args(self, settings: SerializationSettings, t: Task) -> list[str]:  # noqa: ARG002
        """The class, name, configuration, decorators and Deck of a node as container arguments."""
        if not isinstance(t, Node):
            raise ConfigError(f"NodeResolver resolves nodes of this package, got {type(t)}")
        module = module_in_pod(type(t))
        if "<locals>" in type(t).__qualname__ or not module:
            raise ConfigError(
                f"the class of node {t.name!r} must not be defined inside a function or a "
                f"notebook, where a pod cannot find it, got {type(t).__qualname__}; move it to a "
                "module"
            )
        tracking = tracking_of(t)
        return [
            "node",
            f"{module}:{type(t).__qualname__}",
            "name",
            t.name,
            "config",
            record_to_json(t.config),
            "tracking",
            json.dumps(tracking.to_config()) if tracking is not None else "",
            "decorators",
            json.dumps(decorators_to_config(t)),
            "deck",
            json.dumps(None if t.disable_deck else [field.value for field in t.deck_fields]),
        ]

    def load_task(self, loader_args: list[str]) -> Task:
        """Rebuild the node that `loader_args` describes."""
        # names and values alternate, so that a person can read the command of a container
        given = dict(zip(loader_args[::2], loader_args[1::2], strict=True))
        module, _, qualname = given["node"].partition(":")
        kind: type[Node[Any]] = attrgetter(qualname)(import_module(module))
        node = kind.restore(given["name"], record_from_json(_config_type(kind), given["config"]))
        # what an earlier release registered says nothing of the Deck
        shown = json.loads(given.get("deck", "[]"))
        node._disable_deck = shown is None  # noqa: SLF001 - as the constructor would
        node._deck_fields = [DeckField(field) for field in shown or ()]  # noqa: SLF001
        node = decorate(node, json.loads(given["decorators"]))
        tracking = given["tracking"]
        return wandb_init.from_config(json.loads(tracking))(node) if tracking else node

    def get_all_tasks(self) -> list[Task]:
        """Empty, because nodes belong to the modules that make them."""
        return []


node_resolver = NodeResolver()


def _config_type(kind: type[Node[Any]]) -> type[Any]:
    # inherited: a subclass without type arguments of its own gets those of its base
    bases = getattr(kind, "__orig_bases__", ())
    return next(get_args(base)[0] for base in bases if get_args(base))


def _fingerprint(config: Any) -> str:
    # flytekit does not hash the settings of a task, and our results may change by release
    digest = hashlib.sha256(record_to_json(config).encode()).hexdigest()[:12]
    return f"{__version__}-{digest}"
