"""Nodes for what W&B gets after the fact: runs that waited, and the tag of the best run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from flytekit import Secret

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.deck import show_note
from flytekitplugins.wbmon.flyte.secrets import request_secrets
from flytekitplugins.wbmon.run.api_key import require_api_key
from flytekitplugins.wbmon.run.offline_store import open_store
from flytekitplugins.wbmon.run.settings import DEFAULT_API_HOST, DEFAULT_HOST
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSettings:
    """Where runs wait and where they go; see `SyncOfflineRuns`."""

    offline_store: str
    secret: Secret | None
    host: str
    api_host: str
    timeout_s: float


class SyncedRuns(NamedTuple):
    """What became of the runs of a store.

    Attributes:
        delivered: URL of the page of each run that W&B now has.
        left: Why each of the others is still stored, by the URL it is stored under.
        complete: Whether nothing is left.
    """

    delivered: list[str]
    left: dict[str, str]
    complete: bool


class SyncOfflineRuns(Node[SyncSettings]):
    """Deliver the runs that wait in an offline store, oldest first.

    Each row, artifact and alert goes to W&B once, also after a delivery that broke half-way or
    where two nodes run at the same time. A run leaves the store when W&B has confirmed it.

    Args:
        name: The task's name.
        secret: The W&B key; None for W&B's own environment.
        host: URL of the W&B pages.
        api_host: URL of the W&B API.
        offline_store: The `offline_store` of the tasks' `wandb_init`, or any folder above it, such
            as the raw output prefix.
        timeout_s: Seconds for each run.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If there is no store, or `timeout_s` is not positive.
    """

    def __init__(
        self,
        name: str,
        *,
        secret: Secret | None = None,
        host: str = DEFAULT_HOST,
        api_host: str = DEFAULT_API_HOST,
        offline_store: str,
        timeout_s: float = 300.0,
        **task_kwargs: Any,
    ) -> None:
        if not offline_store:
            raise ConfigError(f"SyncOfflineRuns {name!r} must have an offline_store, got none")
        if not timeout_s > 0:
            raise ConfigError(f"timeout_s must be a positive number of seconds, got {timeout_s}")
        settings = SyncSettings(
            offline_store=offline_store,
            secret=secret,
            host=host,
            api_host=api_host,
            timeout_s=timeout_s,
        )
        super().__init__(name, settings, **request_secrets(task_kwargs, secret))

    def compute(self) -> SyncedRuns:
        """Deliver what is there now.

        Returns:
            delivered: URL of the page of each run that W&B now has.
            left: Why each of the others is still stored, by the URL it is stored under.
            complete: Whether nothing is left.
        """
        from flytekitplugins.wbmon.delivery.runs.sync_store import sync_store

        runs = sync_store(
            open_store(self.config.offline_store),
            api_host=self.config.api_host,
            key=require_api_key(self.config.secret, api_host=self.config.api_host),
            timeout_s=self.config.timeout_s,
        )
        host = self.config.host.rstrip("/")
        left = {run.url: run.reason for run in runs if not run.is_delivered}
        for url, reason in left.items():
            show_note(f"{url} stays in the store: {reason}")
        return SyncedRuns(
            delivered=[f"{host}/{run.path}" for run in runs if run.is_delivered],
            left=left,
            complete=not left,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TagSettings:
    """Which runs are compared by what; see `TagBest`."""

    project: str
    entity: str
    metric: str
    mode: Literal["max", "min"]
    tag: str
    secret: Secret | None
    api_host: str


class BestRun(NamedTuple):
    """The best run of a group; an empty id and nan if none has the metric."""

    run_id: str
    value: float
    n_compared: int


class TagBest(Node[TagSettings]):
    """Tag the best run of a group in W&B, and only that one.

    The runs of one execution are one group, so after a mapped sweep this finds the setting that
    won. Put it after the sweep, and after `SyncOfflineRuns` where runs may have waited.

    Args:
        name: The task's name.
        project: W&B project.
        entity: W&B user or team.
        metric: Name in the runs' summaries.
        mode: Whether more or less of it is better.
        tag: The tag.
        secret: The W&B key; None for W&B's own environment.
        api_host: URL of the W&B API.
        task_kwargs: As for any node.

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
        api_host: str = DEFAULT_API_HOST,
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
            group: The group; the running execution if empty.
            among: Ids of the runs that may be best, where the group has older ones; all if left
                out.

        Returns:
            run_id: The best run; empty if none has the metric.
            value: Its metric; nan if none has it.
            n_compared: Runs of the group that have the metric.
        """
        from flytekitplugins.wbmon.delivery.runs.api import WandbApi
        from flytekitplugins.wbmon.delivery.runs.best_run import tag_best
        from flytekitplugins.wbmon.flyte.identity import current_identity

        settings = self.config
        best = tag_best(
            WandbApi(
                settings.api_host, require_api_key(settings.secret, api_host=settings.api_host)
            ),
            entity=settings.entity,
            project=settings.project,
            group=group or current_identity().execution,
            metric=settings.metric,
            mode=settings.mode,
            tag=settings.tag,
            among=among or (),
        )
        return BestRun(run_id=best.run_id, value=best.value, n_compared=best.n_compared)
