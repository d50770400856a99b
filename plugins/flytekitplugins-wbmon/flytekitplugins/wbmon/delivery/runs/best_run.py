"""The best run of a group: several models or settings tried on one data set."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from flytekitplugins.wbmon.delivery.runs.api import ServedRun, WandbApi
from flytekitplugins.wbmon.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The winner of a group.

    Attributes:
        run_id: Its id; empty if no run has the metric.
        value: Its metric; nan if no run has it.
        n_compared: Runs that have the metric as a finite number.
    """

    run_id: str = ""
    value: float = math.nan
    n_compared: int = 0


def tag_best(
    api: WandbApi,
    *,
    entity: str,
    project: str,
    group: str,
    metric: str,
    mode: str = "max",
    tag: str = "best",
    among: Collection[str] = (),
) -> Best:
    """Put a tag on the best run of a group, and take it from the others.

    Args:
        api: The W&B server.
        entity: W&B user or team.
        project: W&B project.
        group: The group's name.
        metric: Name in the runs' summaries.
        mode: `max` if more is better, else `min`.
        tag: The tag.
        among: Ids of the runs that may be best; every run of the group if empty.

    Returns:
        The best run; of equals the one with the smallest id, so that a second call changes nothing.

    Raises:
        DataError: If there is no group to look for.
        PublishError: If W&B does not answer.
    """
    if not group:
        raise DataError("group must name a group of runs, got none; give the execution's name")
    runs = api.list_runs(entity, project, group)
    scored = {run.run_id: _number(run.summary.get(metric)) for run in runs}
    scored = {
        run_id: value
        for run_id, value in scored.items()
        if math.isfinite(value) and (not among or run_id in among)
    }
    sign = -1 if mode == "max" else 1
    order = sorted(scored, key=lambda run_id: (sign * scored[run_id], run_id))
    winner = order[0] if order else ""
    for run in runs:
        _set_tag(api, run, tag, wanted=run.run_id == winner)
    return Best(run_id=winner, value=scored.get(winner, math.nan), n_compared=len(scored))


def _set_tag(api: WandbApi, run: ServedRun, tag: str, *, wanted: bool) -> None:
    if wanted == (tag in run.tags):
        return
    others = tuple(one for one in run.tags if one != tag)
    api.set_tags(run, (*others, tag) if wanted else others)


def _number(value: Any) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number else math.nan
