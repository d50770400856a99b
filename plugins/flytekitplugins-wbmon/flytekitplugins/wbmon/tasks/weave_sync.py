"""The nodes that send traces to Weave outside of the task that made them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from flytekit import Secret
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.deck import show_note
from flytekitplugins.wbmon.flyte.function_reference import rows_of
from flytekitplugins.wbmon.flyte.identity import current_identity
from flytekitplugins.wbmon.flyte.secrets import request_secrets
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.run.api_key import require_api_key
from flytekitplugins.wbmon.run.offline_store import open_store, store_url
from flytekitplugins.wbmon.run.settings import DEFAULT_API_HOST
from flytekitplugins.wbmon.tasks._node import Node

_TRACE_HOST = "https://trace.wandb.ai"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySettings:
    """Which rows `ReplayToWeave` sends, and where to."""

    project: str
    entity: str
    secret: Secret | None
    rate: float = 0.01
    api_host: str = DEFAULT_API_HOST
    trace_host: str = ""
    offline_store: str = ""
    deadline_s: float = 300.0


class TracesReplayed(NamedTuple):
    """How many rows were looked at, became calls, and wait on; where the latter wait."""

    n_rows: int
    n_replayed: int
    n_left: int
    kept_in: str


class ReplayToWeave(Node[ReplaySettings]):
    """Send a sample of the call log to Weave: failed and rated calls always, others at a rate.

    Serving then needs no tracing, which costs a request more than it takes; and the traces of a
    tenant cannot end up in another one's project, because each node has its own.

    Args:
        name: The task's name.
        project: W&B project.
        entity: W&B user or team.
        secret: The W&B key, which the node requests; None for W&B's own environment.
        rate: Share of the calls that succeeded and have no rating, in [0, 1].
        api_host: URL of the W&B API.
        trace_host: URL of the trace server; what belongs to `api_host` by default.
        offline_store: URL for traces that cannot be delivered; if empty they are kept below the
            task's raw output, outside a pod on its disk.
        deadline_s: Longest time to deliver.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If the rate is out of range or the secret is no name of one.
    """

    def __init__(  # noqa: PLR0913 - where from, where to, and how much
        self,
        name: str,
        *,
        project: str,
        entity: str,
        secret: Secret | None,
        rate: float = 0.01,
        api_host: str = DEFAULT_API_HOST,
        trace_host: str = "",
        offline_store: str = "",
        deadline_s: float = 300.0,
        **task_kwargs: Any,
    ) -> None:
        if not 0 <= rate <= 1:
            raise ConfigError(f"rate must be from 0 to 1, got {rate}")
        settings = ReplaySettings(
            project=project,
            entity=entity,
            secret=secret,
            rate=rate,
            api_host=api_host,
            trace_host=trace_host,
            offline_store=offline_store,
            deadline_s=deadline_s,
        )
        super().__init__(name, settings, **request_secrets(task_kwargs, secret))

    def compute(
        self, data: StructuredDataset, feedback: StructuredDataset | None = None
    ) -> TracesReplayed:
        """Replay a window.

        Args:
            data: Rows of the call log or prediction log.
            feedback: Rows of the feedback log; they go along with their calls.

        Returns:
            n_rows: Rows looked at.
            n_replayed: Rows that became calls.
            n_left: Records that could not be delivered.
            kept_in: Where those wait; empty if none does.
        """
        from flytekitplugins.wbmon.delivery.traces.replay import replay_rows
        from flytekitplugins.wbmon.delivery.traces.spool import Target
        from flytekitplugins.wbmon.privacy.secrets import SecretRedactor

        config = self.config
        url = store_url(config.offline_store or None, current_identity())
        key = require_api_key(config.secret, api_host=config.api_host).reveal()
        found = replay_rows(
            rows_of(open_data(data)),
            Target(
                entity=config.entity,
                project=config.project,
                trace_url=_trace_url(config.trace_host, config.api_host),
            ),
            folder=Path(tempfile.mkdtemp(prefix="weave-")),
            api_key=key,
            redact=SecretRedactor([key]).text,
            rate=config.rate,
            feedback=rows_of(open_data(feedback)) if feedback is not None else (),
            open_store=(lambda: open_store(url)) if url else None,
            store_url=url,
            deadline_s=config.deadline_s,
        )
        if found.kept.problem:
            show_note(f"Traces could not be stored: {found.kept.problem}")
        n_left = found.result.n_left
        return TracesReplayed(found.n_rows, found.n_replayed, n_left, found.kept.place)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncTracesSettings:
    """Where `SyncOfflineTraces` looks."""

    secret: Secret | None
    offline_store: str
    api_host: str = DEFAULT_API_HOST
    trace_host: str = ""
    deadline_s: float = 300.0


class TracesSynced(NamedTuple):
    """How many spools were found, arrived whole, and how many records wait on."""

    n_spools: int
    n_delivered: int
    n_left: int


class SyncOfflineTraces(Node[SyncTracesSettings]):
    """Deliver the traces that an outage left in an offline store; each record once.

    Args:
        name: The task's name.
        secret: The W&B key, which the node requests; None for W&B's own environment.
        offline_store: The store, as given to `weave_init`.
        api_host: URL of the W&B API.
        trace_host: Send all of it there; empty sends each where it was meant to go.
        deadline_s: Longest time for the traces of one task.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If the secret is no name of one.
    """

    def __init__(
        self,
        name: str,
        *,
        secret: Secret | None,
        offline_store: str,
        api_host: str = DEFAULT_API_HOST,
        trace_host: str = "",
        deadline_s: float = 300.0,
        **task_kwargs: Any,
    ) -> None:
        settings = SyncTracesSettings(
            secret=secret,
            offline_store=offline_store,
            api_host=api_host,
            trace_host=trace_host,
            deadline_s=deadline_s,
        )
        super().__init__(name, settings, **request_secrets(task_kwargs, secret))

    def compute(self) -> TracesSynced:
        """Deliver what the store holds.

        Returns:
            n_spools: Spools found.
            n_delivered: Spools that arrived whole.
            n_left: Records that wait on.
        """
        from flytekitplugins.wbmon.delivery.traces.store import drain_store

        config = self.config
        found = drain_store(
            open_store(config.offline_store),
            api_key=require_api_key(config.secret, api_host=config.api_host).reveal(),
            deadline_s=config.deadline_s,
            trace_url=config.trace_host,
        )
        for url, reason in found.left.items():
            show_note(f"{url} stays in the store: {reason}")
        return TracesSynced(found.n_spools, found.n_delivered, found.n_left)


def _trace_url(trace_host: str, api_host: str) -> str:
    if trace_host:
        return trace_host.rstrip("/")
    return _TRACE_HOST if api_host == DEFAULT_API_HOST else f"{api_host.rstrip('/')}/traces"
