"""A W&B workspace and a report for the nights of a monitor, made by code; each save makes new ones.

Both draw over `night`, the window's time (seconds since 1970), so that runs which are continued
every night, and runs of single nights, make lines alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import ConfigError, MissingExtraError, PublishError

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2.interface import LinePlot, Report
    from wandb_workspaces.workspaces import Workspace

CLASSIFICATION = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier")
REGRESSION = ("mae", "rmse", "r2")

_X = "night"
_PLAIN: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "Verdict": {
        "Alerts firing": ("alerts/n_firing",),
        "News told": ("alerts/n_news",),
        "Findings about the monitor": ("alerts/n_findings", "alerts/n_no_data"),
    },
    "Drift": {
        "Share of features drifted": ("drift/share_drifted",),
        "Features drifted": ("drift/n_drifted",),
        "Rows of the window": ("drift/n_current",),
    },
    "Scoring": {
        "Batch latency, ms": ("scoring/latency_ms/p50", "scoring/latency_ms/p99"),
        "Rows per second": ("scoring/rows_per_s",),
        "Rows scored": ("scoring/n_rows",),
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """Where the saved pages are."""

    workspace_url: str
    report_url: str


def save_dashboard(
    *,
    entity: str,
    project: str,
    metrics: Sequence[str] = CLASSIFICATION,
    api_host: str | None = None,
    api_key: str | None = None,
) -> Dashboard:
    """Make the workspace and the report, and save both to W&B.

    Run it in a process of its own (`make dashboard`): W&B reads its address and key once.

    Args:
        entity: W&B user or team.
        project: W&B project; made if there is none.
        metrics: Performance metrics to draw, each with its interval and baseline.
        api_host: URL of the W&B API; W&B's environment if None.
        api_key: The W&B key; W&B's environment or login if None.

    Raises:
        MissingExtraError: If wandb-workspaces is not installed.
        PublishError: If W&B did not take them.
    """
    with _environment(WANDB_BASE_URL=api_host, WANDB_API_KEY=api_key):
        workspace = nightly_workspace(entity, project, metrics)
        report = nightly_report(entity, project, metrics)
        try:
            workspace.save()  # type: ignore[no-untyped-call]  # the library's own
            report.save()
        except Exception as error:
            raise PublishError(
                f"the dashboard must be saved to {entity}/{project}, W&B did not take it: "
                f"{type(error).__name__}: {error}. Check entity, project and key"
            ) from error
    return Dashboard(workspace_url=workspace.url, report_url=report.url)


def nightly_workspace(
    entity: str, project: str, metrics: Sequence[str] = CLASSIFICATION
) -> Workspace:
    """The workspace, not saved: a section each for verdict, performance, drift and scoring."""
    ws, wr = _library()
    sections = [
        ws.Section(name=name, is_open=True, panels=panels)
        for name, panels in _panels(wr, metrics).items()
    ]
    return ws.Workspace(
        entity=_named(entity, "entity"),
        project=_named(project, "project"),
        name="Nightly monitor",
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis=_X),
    )


def nightly_report(entity: str, project: str, metrics: Sequence[str] = CLASSIFICATION) -> Report:
    """The report, not saved: the same charts, each section with what its numbers mean."""
    _, wr = _library()
    words = {
        "Verdict": "What the rules decided, night by night. News is what somebody was told: an "
        "alert that fires and did not before, or one that is over.",
        "Performance": "Each metric with its 95 % interval and its baseline. Nights without labels "
        "leave a gap.",
        "Drift": "A feature has drifted when the change is significant over all checks of the "
        "night and at least 10 % of its rows moved.",
        "Scoring": "How the batches were scored.",
    }
    blocks = [
        wr.P("Made by flytekitplugins-wbmon; run `make dashboard` to make it anew."),
        wr.TableOfContents(),
    ]
    for name, panels in _panels(wr, metrics).items():
        runs = wr.Runset(entity=entity, project=project, name="Nights")
        blocks += [wr.H1(name), wr.P(words[name]), wr.PanelGrid(runsets=[runs], panels=panels)]
    return wr.Report(
        entity=_named(entity, "entity"),
        project=_named(project, "project"),
        title="Nightly monitor",
        description="Verdict, performance, drift and scoring over the nights.",
        width="fluid",
        blocks=blocks,
    )


def _panels(wr: Any, metrics: Sequence[str]) -> dict[str, list[LinePlot]]:
    drawn = {
        name: [_line(wr, title, keys) for title, keys in charts.items()]
        for name, charts in _PLAIN.items()
    }
    performance = [_line(wr, name, _with_interval(name)) for name in metrics]
    performance.append(_line(wr, "Share of rows with a label", ("performance/coverage",)))
    return {"Verdict": drawn.pop("Verdict"), "Performance": performance, **drawn}


def _with_interval(metric: str) -> tuple[str, ...]:
    name = f"performance/{metric}"
    return (name, f"{name}/low", f"{name}/high", f"{name}/baseline")


def _line(wr: Any, title: str, keys: Sequence[str]) -> LinePlot:
    return wr.LinePlot(title=title, x=_X, y=list(keys), title_x="night", smoothing_factor=0.0)


def _library() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as reports
        from wandb_workspaces import workspaces
    except ImportError as error:
        raise MissingExtraError.for_feature("A W&B dashboard", extra="dashboard") from error
    return workspaces, reports


def _named(value: str, what: str) -> str:
    if not value:
        raise ConfigError(f"the dashboard must have a W&B {what}, got none; pass {what}=")
    return value


@contextmanager
def _environment(**values: str | None) -> Iterator[None]:
    """W&B's environment with these values; None leaves one as it is."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update({name: value for name, value in values.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
