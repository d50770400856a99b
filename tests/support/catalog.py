"""A stand-in for Flyte's data catalog: what cached tasks returned for which inputs."""

from __future__ import annotations

from flyteidl.admin.task_pb2 import TaskSpec
from flyteidl.core.literals_pb2 import Literal, LiteralMap
from flyteidl.core.workflow_pb2 import NodeMetadata


class Catalog:
    """The outputs of cached tasks by task, cache version and inputs.

    An input is the same if its hash is, or where it has none its value: for a file that is its URI,
    not its content.

    Attributes:
        hits: The tasks that were not run, in order.
    """

    def __init__(self) -> None:
        self.hits: list[str] = []
        self._outputs: dict[tuple[object, ...], LiteralMap] = {}

    def find(
        self, spec: TaskSpec, metadata: NodeMetadata, inputs: LiteralMap, shard: int | None
    ) -> LiteralMap | None:
        """The outputs of an earlier call; None if there was none or the task is not cached.

        Args:
            spec: The compiled task.
            metadata: Of its node, which overrides the task's.
            inputs: The inputs; of a mapped task, its lists.
            shard: The index in them.
        """
        found = self._outputs.get(_key(spec, metadata, inputs, shard))
        if found is not None:
            self.hits.append(spec.template.id.name)
        return found

    def keep(
        self,
        spec: TaskSpec,
        metadata: NodeMetadata,
        inputs: LiteralMap,
        outputs: LiteralMap,
        shard: int | None,
    ) -> None:
        """Remember what a task returned, if it is cached; the arguments are those of `find`."""
        if _is_cached(spec, metadata):
            self._outputs[_key(spec, metadata, inputs, shard)] = outputs


def _is_cached(spec: TaskSpec, metadata: NodeMetadata) -> bool:
    if metadata.WhichOneof("cacheable_value"):
        return metadata.cacheable
    return spec.template.metadata.discoverable


def _key(
    spec: TaskSpec, metadata: NodeMetadata, inputs: LiteralMap, shard: int | None
) -> tuple[object, ...]:
    template = spec.template
    version = metadata.cache_version or template.metadata.discovery_version
    ignored = template.metadata.cache_ignore_input_vars
    given = {
        name: _what_counts(literal).SerializeToString(deterministic=True)
        for name, literal in inputs.literals.items()
        if name not in ignored
    }
    return template.id.name, version, tuple(sorted(given.items())), shard


def _what_counts(literal: Literal) -> Literal:
    """The hash of a literal in place of the literal, also within lists and maps."""
    if literal.hash:
        return Literal(hash=literal.hash)
    counting = Literal()
    counting.CopyFrom(literal)
    counting.ClearField("metadata")
    for place, inner in enumerate(literal.collection.literals):
        counting.collection.literals[place].CopyFrom(_what_counts(inner))
    for name, inner in literal.map.literals.items():
        counting.map.literals[name].CopyFrom(_what_counts(inner))
    return counting
