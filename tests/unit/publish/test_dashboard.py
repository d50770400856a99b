from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from flytekitplugins.wbmon.errors import ConfigError, MissingExtraError
from flytekitplugins.wbmon.publish.dashboard import (
    REGRESSION,
    nightly_report,
    nightly_workspace,
    save_dashboard,
)
from support.child import result_of
from support.wandb_server import KEY, WandbServer

SAVE = """
import json, sys
from flytekitplugins.wbmon.publish.dashboard import save_dashboard
saved = save_dashboard(entity="ops", project="payments", api_host={url!r}, api_key={key!r})
print(json.dumps([saved.workspace_url, saved.report_url]))
"""


def charts(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The settings of every chart of a saved page, wherever they are nested."""
    if isinstance(spec, list):
        return [found for item in spec for found in charts(item)]
    if not isinstance(spec, dict):
        return []
    own = [spec["config"]] if spec.get("viewType") == "Run History Line Plot" else []
    return own + [found for item in spec.values() for found in charts(item)]


def test_workspace_and_report_are_saved_and_draw_over_the_night(tmp_path: Path) -> None:
    with WandbServer() as server:
        urls = result_of(SAVE.format(url=server.url, key=KEY), home=tmp_path)
        views = {view.kind: view for view in server.views}
        assert server.unknown == []
    assert all(url.startswith(f"{server.url}/ops/payments") for url in urls)
    assert {view.title for view in views.values()} == {"Nightly monitor"}
    for kind in ("project-view", "runs"):
        drawn = charts(views[kind].spec)
        assert {chart["xAxis"] for chart in drawn} == {"night"}
        metrics = {metric for chart in drawn for metric in chart["metrics"]}
        assert {"alerts/n_firing", "drift/share_drifted", "performance/f1/low"} <= metrics


def test_metrics_can_be_chosen_and_nothing_is_sent_before_it_is_saved() -> None:
    workspace = nightly_workspace("ops", "payments", REGRESSION)
    titles = [panel.title for section in workspace.sections for panel in section.panels]
    assert "rmse" in titles
    assert "f1" not in titles
    assert nightly_report("ops", "payments", REGRESSION).title == "Nightly monitor"


def test_a_dashboard_without_a_project_is_refused() -> None:
    with pytest.raises(ConfigError, match="project="):
        nightly_workspace("ops", "")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(MissingExtraError, match=r"flytekitplugins-wbmon\[dashboard\]"):
        save_dashboard(entity="ops", project="payments")
