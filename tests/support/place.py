"""Where in an execution a pod stands, and what FlytePropeller calls that place.

The names are those of a real Flyte 1.16: ids in links and in the names of pods are short and may be
hashed, folders of metadata are made of the nodes' own ids.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

EXECUTION = "f3a9c1d2e4b5a6c7d8e9"
PROJECT = "flytesnacks"
DOMAIN = "development"
CONSOLE = "http://flyte.example.com/console"

_NAME_LENGTH = 20
_POD_NAME_LENGTH = 50


@dataclass(frozen=True)
class Place:
    """Where in an execution a pod stands.

    Attributes:
        node: The node's id in its workflow.
        attempt: 0 first.
        shard: The index in an array node; None elsewhere.
        execution: The execution's name.
        workflow: The name of the execution's workflow, also within a sub-workflow.
        within: The dynamic, branch or sub-workflow node that holds the node; None at the top.
    """

    node: str = "n0"
    attempt: int = 0
    shard: int | None = None
    execution: str = EXECUTION
    workflow: str = "workflow"
    within: Place | None = None

    @property
    def unique_id(self) -> str:
        """The node's id in links and pod names; a shard counts as a node inside its array."""
        node = self.node
        if self.within is not None:
            node = child_id(self.within.unique_id, self.within.attempt, node)
        # the array node itself is not tried again: its shards are
        return node if self.shard is None else child_id(node, 0, f"n{self.shard}")

    @property
    def pod_name(self) -> str:
        """What Kubernetes gives the pod as HOSTNAME."""
        return shorten(f"{self.execution}-{self.unique_id}-{self.attempt}", _POD_NAME_LENGTH)

    @property
    def inputs(self) -> str:
        """The file of the pod's inputs below the execution's folder; an array's are its shards'."""
        return f"{self._data}/inputs.pb"

    @property
    def path(self) -> str:
        """The folder of what the pod writes, below the execution's."""
        shard = "" if self.shard is None else f"/0/{self.shard}"
        return f"{self._data}{shard}/{self.attempt}"

    @property
    def raw(self) -> str:
        """The folder of the pod's data; its first part spreads the pods over the bucket."""
        return f"{shorten(self.pod_name, 0)[1:3]}/{self.pod_name}"

    @property
    def url(self) -> str:
        """The node's page in the Flyte console."""
        path = f"projects/{PROJECT}/domains/{DOMAIN}/executions/{self.execution}"
        return f"{CONSOLE}/{path}/nodeId/{self.unique_id}/nodes"

    @property
    def child_execution(self) -> str:
        """The name of the execution that a launch plan node starts."""
        return shorten(f"{self.execution}-{self.unique_id}-{self.attempt}", _NAME_LENGTH)

    @property
    def _data(self) -> str:
        return f"{self.node}/data" if self.within is None else f"{self.within.path}/{self.node}"


FIRST = Place()


def child_id(parent: str, attempt: int, node: str) -> str:
    """The unique id of a node inside a dynamic, branch, array or sub-workflow node."""
    return shorten(f"{parent}-{attempt}-{node}", _NAME_LENGTH)


def shorten(name: str, length: int) -> str:
    """The name, or `f` and seven letters of its FNV-1a hash if it is too long for Kubernetes."""
    if len(name) <= length:
        return name
    digest = 0x811C9DC5
    for byte in name.encode():
        digest = ((digest ^ byte) * 0x01000193) & 0xFFFFFFFF
    alphabet = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "abcdefghijklmnopqrstuvwxyz123456")
    return "f" + base64.b32encode(digest.to_bytes(4, "big")).decode().rstrip("=").translate(
        alphabet
    )
