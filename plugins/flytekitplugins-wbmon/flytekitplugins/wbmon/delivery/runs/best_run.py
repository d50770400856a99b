"""The best run of a group, for example of several models trained on one data set."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from flytekitplugins.wbmon.delivery.runs.api import ServedRun, WandbApi
from flytekitplugins.wbmon.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best run of a group.

    Attributes:
        run_id: Its id; empty if no run has the metric.
        value: Its value of the metric; nan if no run has the metric.
        n_compared: Number of runs that have a finite value of the metric.
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
    """Add a tag to the best run of a group, and remove it from the other runs of the group.

    Args:
        api: The W&B server.
        entity: W&B user or team.
        project: W&B project.
        group: The group's name.
        metric: Name of the metric in the summary of each run.
        mode: `max` if a higher value is better, `min` if a lower one is.
        tag: The tag.
        among: Ids of the runs that may be the best; every run of the group if empty.

    Returns:
        The best run; of equally good runs the one with the smallest id, so that a second call has
        the same result.

    Raises:
        DataError: If `group` is empty.
        PublishError: If W&B does not answer, or answers with an error.
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
        return  # saves one request per run
    others = tuple(one for one in run.tags if one != tag)
    api.set_tags(run, (*others, tag) if wanted else others)


def _number(value: Any) -> float:
    # a bool is an int in Python, but no metric
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number else math.nan
