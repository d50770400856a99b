from __future__ import annotations

import logging
from pathlib import Path

import pytest

from flytekitplugins.wbmon import WandbConfig, wandb_init
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.run.config_file import resolve

FULL = """
wandb:
  enabled: true
  project: payments
  entity: ops
  group: nightly
  run_name: first
  tags: [fraud, nightly]
  notes: mine
  mode: offline
  log_artifacts: true
model:
  depth: 3
  api_key: hunter2-hunter2
  url: https://user:hunter2@db/x
  note: planted-value-123456
"""


@pytest.fixture(autouse=True)
def no_wandb_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROJECT", "ENTITY", "RUN_GROUP", "NAME", "TAGS", "NOTES", "MODE"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "monitor.yaml"
    path.write_text(FULL)
    return path


def test_a_file_describes_the_decorator(path: Path) -> None:
    settings = wandb_init.from_yaml(path, delivery="online").settings
    assert (settings.project, settings.entity, settings.mode) == ("payments", "ops", "offline")
    assert (settings.enabled, settings.log_artifacts, settings.delivery) == (True, True, "online")
    init = dict(settings.init)
    assert init.pop("config")["model"]["depth"] == 3
    assert init == {
        "group": "nightly",
        "name": "first",
        "tags": ["fraud", "nightly"],
        "notes": "mine",
        "mode": "offline",
    }


def test_arguments_win_over_the_file_and_the_environment_over_it_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "other")
    monkeypatch.setenv("WANDB_TAGS", "a, b,")
    monkeypatch.setenv("WBMON_LOG_ARTIFACTS", "no")
    settings = wandb_init.from_yaml(path, entity="mine").settings
    assert (settings.project, settings.entity) == ("other", "mine")
    assert settings.init["tags"] == ["a", "b"]
    assert settings.log_artifacts is False


def test_what_wandb_would_refuse_of_the_environment_is_repaired(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TAGS": "t" * 65, "RUN_GROUP": "g" * 200, "MODE": "turbo"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    settings = wandb_init.from_yaml(path).settings
    assert [len(tag) for tag in settings.init["tags"]] == [64]
    assert (len(settings.init["group"]), settings.mode) == (128, "offline")


def test_secrets_are_hidden_in_the_config_and_the_log(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "planted-value-123456")
    caplog.set_level(logging.INFO, logger="flytekitplugins")
    _, whole = resolve(path)
    assert whole["model"]["depth"] == 3
    for shown in (repr(whole), caplog.text):
        assert "hunter2" not in shown
        assert "planted-value" not in shown
    assert "[SECRET]" in caplog.text


def test_notes_and_mistakes_of_a_file_show_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="flytekitplugins")
    path = tmp_path / "notes.yaml"
    path.write_text("wandb: {project: p, notes: 'with password=hunter2', tags: ['pw=hunter2']}")
    config, _ = resolve(path)
    assert "hunter2" not in repr(config) + caplog.text
    path.write_text("wandb: {notes: {password: hunter2}}")
    with pytest.raises(ConfigError, match="must be text") as caught:
        resolve(path)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"projct": "x"}, "did you mean 'project'"),
        ({"zzz": 1}, "it may have enabled, project"),
        ({"enabled": "yes please"}, "enabled must be true or false"),
        ({"project": 123}, "project must be text"),
        ({"tags": "nightly"}, "tags must be a list"),
        ({"mode": "turbo"}, "mode must be one of"),
    ],
)
def test_a_section_that_cannot_work_is_refused(section: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WandbConfig.from_dict(section)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a list", "mapping of sections"),
        ("wandb: [1]", "wandb: must be a mapping"),
        ("wandb: {project: [", "must be YAML"),
    ],
)
def test_a_file_that_cannot_work_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        wandb_init.from_yaml(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a file that can be read"):
        wandb_init.from_yaml(tmp_path / "nowhere.yaml")


def test_a_switch_in_the_environment_must_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WBMON_WANDB_ENABLED", "maybe")
    with pytest.raises(ConfigError, match="WBMON_WANDB_ENABLED must be true or false"):
        WandbConfig().with_environment()


def test_a_file_without_the_section_leaves_it_to_the_arguments(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("model: {depth: 3}")
    settings = wandb_init.from_yaml(path, project="p", entity="e").settings
    assert settings.init["config"] == {"model": {"depth": 3}}
