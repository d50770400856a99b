"""Nodes that work on W&B runs after their end: deliver stored runs, tag the best run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from flytekit import Secret

from flytekitplugins.wbmon.delivery.wandb_hosts import page_url, require_api_url
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.deck import show_note
from flytekitplugins.wbmon.flyte.secrets import request_secrets
from flytekitplugins.wbmon.run.api_key import require_api_key
from flytekitplugins.wbmon.run.offline_store import open_store
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSettings:
    """Settings of `SyncOfflineRuns`; see there."""

    offline_store: str
    secret: Secret | None
    host: str | None
    api_host: str | None
    timeout_s: float


class SyncedRuns(NamedTuple):
    """The outputs of `SyncOfflineRuns`.

    Attributes:
        delivered: URLs of the W&B pages of the delivered runs.
        left: For each run that is still stored, the reason by the URL in the store.
        complete: Whether no run is left in the store that could be delivered now. One whose task is
            at work, or was killed less than two minutes ago, is passed over.
    """

    delivered: list[str]
    left: dict[str, str]
    complete: bool


class SyncOfflineRuns(Node[SyncSettings]):
    """Deliver the runs in an offline store to W&B, oldest first.

    Each row, artifact and alert is sent once, even if an earlier delivery was interrupted or two
    nodes run at the same time. A run is deleted from the store when W&B has confirmed it. If the
    server cannot be reached or refuses the key, no further runs are tried. A run that is for
    another server than the node's is left, for a node with the key of that server.

    Args:
        name: Name of the task.
        secret: The W&B key, which the node requests; None to use W&B's own environment. Not a
            callable, which cannot be sent to the node's pod.
        host: URL of the W&B pages; by default those that belong to the API, or WANDB_APP_URL.
        api_host: URL of the W&B API; None for WANDB_BASE_URL where the node runs, or
            https://api.wandb.ai.
        offline_store: URL of the store: the `offline_store` of `wandb_init`, or any folder above
            it, such as the raw output prefix.
        timeout_s: Time limit in seconds for each run, copying it from the store included.
        task_kwargs: Arguments of the task, as for any node.

    Raises:
        ConfigError: If `offline_store` is empty, `timeout_s` is not positive, or `secret` is not a
            `flytekit.Secret`.
    """

    shared_urls = ("offline_store",)

    def __init__(
        self,
        name: str,
        *,
        secret: Secret | None = None,
        host: str | None = None,
        api_host: str | None = None,
        offline_store: str,
        timeout_s: float = 300.0,
        **task_kwargs: Any,
    ) -> None:
        if not offline_store:
            raise ConfigError(f"SyncOfflineRuns {name!r} must have an offline_store, got none")
        # not `timeout_s <= 0`, which would accept nan
        if not timeout_s > 0:
            raise ConfigError(f"timeout_s must be a positive number of seconds, got {timeout_s}")
        settings = SyncSettings(
            offline_store=offline_store,
            secret=secret,
            host=host,
            api_host=api_host,
            timeout_s=timeout_s,
        )
        # the node itself needs the key, whether or not `wandb_init` tracks it
        super().__init__(name, settings, **request_secrets(task_kwargs, secret))

    def compute(self) -> SyncedRuns:
        """Deliver the runs that are in the store now.

        Returns:
            delivered: URLs of the W&B pages of the delivered runs.
            left: For each run that is still stored, the reason by the URL in the store.
            complete: Whether no run is left in the store that could be delivered now. One whose
                task is at work, or was killed less than two minutes ago, is passed over.
        """
        # imported here, because every pod of the project imports the module that defines the node
        from flytekitplugins.wbmon.delivery.runs.sync_store import sync_store

        api_host = require_api_url(self.config.api_host)
        runs = sync_store(
            open_store(self.config.offline_store),
            api_host=api_host,
            key=require_api_key(self.config.secret, api_host=api_host),
            timeout_s=self.config.timeout_s,
        )
        host = page_url(api_host, self.config.host)
        left = {run.url: run.reason for run in runs if not run.is_delivered}
        # a run that is left does not fail the node: the next execution tries again
        for url, reason in left.items():
            show_note(f"{url} stays in the store: {reason}")
        for run in runs:
            if run.lost:
                show_note(f"{run.url} lacks something that its task logged: {run.lost}")
        return SyncedRuns(
            delivered=[f"{host}/{run.path}" for run in runs if run.is_delivered],
            left=left,
            complete=not left,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TagSettings:
    """Settings of `TagBest`; see there."""

    project: str
    entity: str
    metric: str
    mode: Literal["max", "min"]
    tag: str
    secret: Secret | None
    api_host: str | None


class BestRun(NamedTuple):
    """The outputs of `TagBest`.

    Attributes:
        run_id: Id of the best run; empty if no run has the metric.
        value: Value of its metric; nan if no run has the metric.
        n_compared: Number of runs in the group that have the metric.
    """

    run_id: str
    value: float
    n_compared: int


class TagBest(Node[TagSettings]):
    """Tag the best run of a group in W&B, and remove the tag from all others.

    The runs of one execution, and of those that an eager one begins, form a group by default. After
    a mapped sweep the node therefore finds the best setting. Place it after the sweep, and after
    `SyncOfflineRuns` if runs may be in an offline store.

    Args:
        name: Name of the task.
        project: W&B project.
        entity: W&B user or team.
        metric: Name of the metric in the summaries of the runs.
        mode: `max` if higher values are better, `min` if lower values are.
        tag: The tag that marks the best run.
        secret: The W&B key, which the node requests; None to use W&B's own environment.
        api_host: URL of the W&B API; None for WANDB_BASE_URL where the node runs, or
            https://api.wandb.ai.
        task_kwargs: Arguments of the task, as for any node.

    Raises:
        ConfigError: If `mode` is neither `max` nor `min`.
    """

    def __init__(
        self,
        name: str,
        *,
        project: str,
        entity: str,
        metric: str,
        mode: Literal["max", "min"] = "max",
        tag: str = "best",
        secret: Secret | None = None,
        api_host: str | None = None,
        **task_kwargs: Any,
    ) -> None:
        if mode not in ("max", "min"):
            raise ConfigError(f"mode must be 'max' or 'min', got {mode!r}")
        settings = TagSettings(
            project=project,
            entity=entity,
            metric=metric,
            mode=mode,
            tag=tag,
            secret=secret,
            api_host=api_host,
        )
        super().__init__(name, settings, **request_secrets(task_kwargs, secret))

    def compute(self, group: str = "", among: list[str] | None = None) -> BestRun:
        """Tag the best run of a group.

        Args:
            group: Name of the group; if empty, that of the running execution.
            among: Ids of the runs to compare, if the group also has older runs; None for all.

        Returns:
            run_id: Id of the best run; empty if no run has the metric.
            value: Value of its metric; nan if no run has the metric.
            n_compared: Number of runs in the group that have the metric.
        """
        from flytekitplugins.wbmon.delivery.runs.api import WandbApi
        from flytekitplugins.wbmon.delivery.runs.best_run import tag_best
        from flytekitplugins.wbmon.flyte.identity import current_identity

        settings = self.config
        api_host = require_api_url(settings.api_host)
        best = tag_best(
            WandbApi(api_host, require_api_key(settings.secret, api_host=api_host)),
            entity=settings.entity,
            project=settings.project,
            group=group or current_identity().group,
            metric=settings.metric,
            mode=settings.mode,
            tag=settings.tag,
            among=among or (),
        )
        return BestRun(run_id=best.run_id, value=best.value, n_compared=best.n_compared)
