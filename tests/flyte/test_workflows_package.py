"""All our workflows are registered at once, where no client of a language model is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from support.admin import refusals
from support.environment import ROOT
from support.package import PackagingError, load_package, package


@pytest.mark.skipif(find_spec("openai") is not None, reason="the llm extra is installed")
def test_a_cluster_takes_every_workflow_with_the_folder_that_all_pods_share(
    tmp_path: Path,
) -> None:
    shared = "s3://bucket/monitors"
    archive = package(
        ROOT, ["workflows"], archive=tmp_path / "all.tgz", env={"WBMON_SHARED": f"{shared}/"}
    )
    compiled = load_package(archive)
    assert refusals(compiled) == []
    assert {"workflows.llm_nightly.llm_nightly", "workflows.llm_capacity.llm_capacity"} <= set(
        compiled.workflows
    )
    settings = {
        "on_call.alert": f"{shared}/state/payments.json",
        "on_call.heartbeat": f"{shared}/state/payments-heartbeat.json",
        "serving.compact": f"{shared}/log",
        "wandb.sync_offline": f"{shared}/offline",
    }
    for name, url in settings.items():
        assert f'"{url}"' in " ".join(compiled.tasks[name].template.container.args)


def test_without_it_they_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(PackagingError) as refused:
        package(ROOT, ["workflows.sync_offline"], archive=tmp_path / "one.tgz")
    words = " ".join(str(refused.value).split())
    assert "ConfigError: SyncOfflineRuns 'wandb.sync_offline' must have offline_store" in words
    assert "got 'out/WBMON_SHARED/offline'" in words
