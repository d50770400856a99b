"""Nodes that send traces to Weave outside of the task that recorded them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from flytekit import Secret
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.delivery.wandb_hosts import require_api_url, trace_url
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.deck import show_note
from flytekitplugins.wbmon.flyte.function_reference import rows_of
from flytekitplugins.wbmon.flyte.identity import current_identity
from flytekitplugins.wbmon.flyte.secrets import request_secrets
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.run.api_key import require_api_key
from flytekitplugins.wbmon.run.offline_store import open_store, store_url
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySettings:
    """Settings of `ReplayToWeave`; see there."""

    project: str
    entity: str
    secret: Secret | None
    rate: float = 0.01
    api_host: str | None = None
    trace_host: str = ""
    offline_store: str = ""
    deadline_s: float = 300.0


class TracesReplayed(NamedTuple):
    """The outputs of `ReplayToWeave`.

    Attributes:
        n_rows: Number of rows that were read.
        n_replayed: Number of rows that became Weave calls.
        n_left: Number of records that could not be delivered.
        kept_in: Where those records are stored; empty if all were delivered.
    """

    n_rows: int
    n_replayed: int
    n_left: int
    kept_in: str


class ReplayToWeave(Node[ReplaySettings]):
    """Send a sample of the call log to Weave: all failed or rated calls, a share of the others.

    The serving process then needs no tracing, which would slow down its requests. The traces of one
    tenant cannot reach the project of another one, because each node has its own project.

    Args:
        name: Name of the task.
        project: W&B project.
        entity: W&B user or team.
        secret: The W&B key, which the node requests; None to use W&B's own environment.
        rate: Share of the calls without failure and rating that is sent, in [0, 1]. They are chosen
            by a hash of the request id, so that a retry sends the same ones.
        api_host: URL of the W&B API; None for WANDB_BASE_URL where the node runs, or
            https://api.wandb.ai.
        trace_host: URL of the trace server, as for `weave_init`.
        offline_store: URL for traces that cannot be delivered. If empty, they are stored below the
            task's raw output prefix in a pod, and on the local disk elsewhere.
        deadline_s: Time limit in seconds for the delivery.
        task_kwargs: Arguments of the task, as for any node.

    Raises:
        ConfigError: If `rate` is out of range, or `secret` is not a `flytekit.Secret`.
    """

    shared_urls = ("offline_store",)

    def __init__(  # noqa: PLR0913 - where from, where to, and how much
        self,
        name: str,
        *,
        project: str,
        entity: str,
        secret: Secret | None,
        rate: float = 0.01,
        api_host: str | None = None,
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
        """Send the sampled rows of a window.

        Args:
            data: Rows of the call log or prediction log, as `read_calls` and `CompactPredictionLog`
                give them. Each must have a `timestamp`; of one without a `request_id`, its
                content is the id.
            feedback: Rows of the feedback log; they are sent with their calls, by `request_id`.

        Returns:
            n_rows: Number of rows that were read.
            n_replayed: Number of rows that became Weave calls.
            n_left: Number of records that could not be delivered.
            kept_in: Where those records are stored; empty if all were delivered.

        Raises:
            DataError: If a row lacks what it must have, or has something else there; nothing is
                sent then.
        """
        from flytekitplugins.wbmon.delivery.traces.replay import replay_rows
        from flytekitplugins.wbmon.delivery.traces.spool import Target
        from flytekitplugins.wbmon.privacy.secrets import SecretRedactor

        config = self.config
        url = store_url(config.offline_store or None, current_identity())
        api_host = require_api_url(config.api_host)
        key = require_api_key(config.secret, api_host=api_host).reveal()
        found = replay_rows(
            rows_of(open_data(data)),
            Target(
                entity=config.entity,
                project=config.project,
                trace_url=trace_url(api_host, config.trace_host),
            ),
            folder=Path(tempfile.mkdtemp(prefix="weave-")),
            api_key=key,
            # rows hold what users and models wrote, which may contain the key in use
            redact=SecretRedactor([key]).text,
            rate=config.rate,
            feedback=rows_of(open_data(feedback)) if feedback is not None else (),
            open_store=(lambda: open_store(url)) if url else None,
            store_url=url,
            deadline_s=config.deadline_s,
        )
        # a failed store does not fail the node: `n_left` says how many records are concerned
        if found.kept.problem:
            show_note(f"Traces could not be stored: {found.kept.problem}")
        n_left = found.result.n_left
        return TracesReplayed(found.n_rows, found.n_replayed, n_left, found.kept.place)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncTracesSettings:
    """Settings of `SyncOfflineTraces`; see there."""

    secret: Secret | None
    offline_store: str
    api_host: str | None = None
    trace_host: str = ""
    deadline_s: float = 300.0


class TracesSynced(NamedTuple):
    """The outputs of `SyncOfflineTraces`.

    Attributes:
        n_spools: Number of spools (the stored traces of one task) that were found.
        n_delivered: Number of spools that were delivered completely.
        n_left: Number of records that are still stored.
    """

    n_spools: int
    n_delivered: int
    n_left: int


class SyncOfflineTraces(Node[SyncTracesSettings]):
    """Deliver the traces that are in an offline store after an outage; each record is sent once.

    Args:
        name: Name of the task.
        secret: The W&B key, which the node requests; None to use W&B's own environment.
        offline_store: URL of the store, as given to `weave_init`.
        api_host: URL of the W&B API; None for WANDB_BASE_URL where the node runs, or
            https://api.wandb.ai. Its host name selects the W&B login if `secret` is None.
        trace_host: URL of a trace server for all traces. If empty, those are sent that were
            recorded for the server to which `weave_init` with this `api_host` would send them, and
            others are left: whoever can write to the store could otherwise have the key sent
            anywhere.
        deadline_s: Time limit in seconds for the traces of one task.
        task_kwargs: Arguments of the task, as for any node.

    Raises:
        ConfigError: If `secret` is not a `flytekit.Secret`.
    """

    shared_urls = ("offline_store",)

    def __init__(
        self,
        name: str,
        *,
        secret: Secret | None,
        offline_store: str,
        api_host: str | None = None,
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
        """Deliver the traces that are in the store now.

        Returns:
            n_spools: Number of spools (the stored traces of one task) that were found.
            n_delivered: Number of spools that were delivered completely.
            n_left: Number of records that are still stored.
        """
        from flytekitplugins.wbmon.delivery.traces.store import drain_store

        config = self.config
        api_host = require_api_url(config.api_host)
        found = drain_store(
            open_store(config.offline_store),
            api_key=require_api_key(config.secret, api_host=api_host).reveal(),
            deadline_s=config.deadline_s,
            trace_url=config.trace_host.rstrip("/"),
            known_url=trace_url(api_host),
        )
        for url, reason in found.left.items():
            show_note(f"{url} stays in the store: {reason}")
        return TracesSynced(found.n_spools, found.n_delivered, found.n_left)
