"""Creates a W&B workspace and a W&B report for a nightly monitor; each call saves new ones.

The x axis of all charts is `night`, the time of the window in seconds since 1970. Charts therefore
look the same for one run that is resumed every night and for one run per night.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery import wandb_hosts
from flytekitplugins.wbmon.errors import ConfigError, MissingExtraError, PublishError

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2.interface import LinePlot, Report
    from wandb_workspaces.workspaces import Workspace

CLASSIFICATION = ("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "log_loss", "brier")
REGRESSION = ("mae", "rmse", "mape", "r2")

# what `run_log` logs beside each decision
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
    """The URLs of the saved pages."""

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
    """Create the workspace and the report, and save both to W&B.

    Run it in a separate process (`make dashboard`), because wandb reads the URL and the key only
    once per process.

    Args:
        entity: W&B user or team.
        project: W&B project; created if it does not exist.
        metrics: Names of the performance metrics to show, each with its interval and baseline.
        api_host: URL of the W&B API; None for WANDB_BASE_URL, or https://api.wandb.ai.
        api_key: The W&B key; None to use W&B's environment or login.

    Returns:
        The URLs of both pages.

    Raises:
        ConfigError: If the entity or the project is empty, or the URL of the API is none.
        MissingExtraError: If wandb-workspaces is not installed.
        PublishError: If W&B did not accept the pages.
    """
    api = wandb_hosts.require_api_url(api_host)
    pages = wandb_hosts.page_url(api)
    # wandb-workspaces has no arguments for them
    with _environment(WANDB_BASE_URL=api, WANDB_APP_URL=pages, WANDB_API_KEY=api_key):
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
    """Build the workspace without saving it.

    It has a section each for verdict, performance, drift and scoring.

    Args:
        entity: W&B user or team.
        project: W&B project.
        metrics: Names of the performance metrics to show.
    """
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
    """Build the report without saving it: the charts of the workspace, with explanations.

    Args:
        entity: W&B user or team.
        project: W&B project.
        metrics: Names of the performance metrics to show.
    """
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
        # all runs of the project: each night may have a run of its own
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
    # the verdict first, because it is what a reader looks for
    return {"Verdict": drawn.pop("Verdict"), "Performance": performance, **drawn}


def _with_interval(metric: str) -> tuple[str, ...]:
    name = f"performance/{metric}"
    return (name, f"{name}/low", f"{name}/high", f"{name}/baseline")


def _line(wr: Any, title: str, keys: Sequence[str]) -> LinePlot:
    # no smoothing: a single bad night must stay visible
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
    """Set environment variables inside the block; None leaves a variable unchanged."""
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
