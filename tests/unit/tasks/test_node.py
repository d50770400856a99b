from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flytekit import (
    Cache,
    Documentation,
    Resources,
    Secret,
    TaskMetadata,
    map_task,
    task,
    workflow,
)
from flytekit.deck import DeckField
from flytekit.extras.accelerators import T4
from flytekit.tools.translator import get_serializable
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import (
    AlertRule,
    DegradationAlert,
    DriftCheck,
    DriftRule,
    DriftSeriesCheck,
    MergeProfiles,
    PerformanceCheck,
    Profile,
    ProfileData,
    batch_scoring,
    check_drift,
    profile_data,
    wandb_init,
)
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.reports.serialize import record_to_json
from flytekitplugins.wbmon.run.decorated_task import tracking_of
from flytekitplugins.wbmon.tasks._node import Node, node_resolver
from support.in_process import execute, in_pod, pod_context
from support.package import SETTINGS
from support.wandb_log import find_run

NODES = (
    ProfileData("t.profile", columns=("a", "b"), weight="w"),
    MergeProfiles("t.merge"),
    DriftCheck("t.drift", rule=DriftRule(alpha=0.01, importance={"a": 2.0})),
    PerformanceCheck(
        "t.performance", task="classification", label="y", prediction="p", score=("s0", "s1")
    ),
    DegradationAlert("t.alert", rules=[AlertRule(metric="performance.accuracy", below=0.8)]),
)

# of the arguments of `flytekit.task` those that nodes take; the others are for functions
ARGUMENTS: dict[str, Any] = {
    "accelerator": T4,
    "annotations": {"a": "b"},
    "cache": True,
    "container_image": "example.com/image:1",
    "deck_fields": (DeckField.INPUT,),
    "deprecated": "use another",
    "disable_deck": True,
    "docs": Documentation(short_description="a check"),
    "enable_deck": False,
    "environment": {"A": "1"},
    "interruptible": True,
    "labels": {"a": "b"},
    "limits": Resources(cpu="2"),
    "pod_template_name": "gpu",
    "requests": Resources(mem="2Gi"),
    "resources": Resources(mem="2Gi"),
    "retries": 3,
    "secret_requests": [Secret(group="g", key="k")],
    "shared_memory": "1Gi",
    "timeout": timedelta(minutes=1),
}


def test_a_command_of_release_0_2_is_understood() -> None:
    node = NODES[2]
    words = ["node", "flytekitplugins.wbmon.tasks.drift:DriftCheck", "name", "t.drift"]
    words += ["config", record_to_json(node.config), "tracking", "", "decorators", "[]"]

    rebuilt = node_resolver.load_task(words)

    assert isinstance(rebuilt, DriftCheck)
    assert rebuilt.config == node.config
    assert not rebuilt.disable_deck


class Team:
    """Holds a node class of its own, as a notebook or a settings class may."""

    class Check(DriftCheck):
        """A drift check by another name."""


def test_a_pod_finds_a_class_inside_a_class() -> None:
    assert type(in_pod(Team.Check("t.nested"))) is Team.Check


def test_a_class_that_no_pod_can_find_is_refused_before_it_is_registered() -> None:
    class Check(DriftCheck):
        pass

    with pytest.raises(ConfigError, match=r"'t.local' must not be defined inside a function"):
        Check("t.local").get_command(SETTINGS)


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_a_pod_rebuilds_the_node_without_the_module_that_made_it(node: Node[object]) -> None:
    again = in_pod(node)
    assert type(again) is type(node)
    assert again.name == node.name
    assert again.config == node.config
    assert again.python_interface.inputs == node.python_interface.inputs


@pytest.mark.parametrize(
    "deck", [{}, {"enable_deck": False}, {"deck_fields": (DeckField.INPUT, DeckField.TIMELINE)}]
)
def test_a_pod_shows_on_the_deck_what_was_asked_for(deck: dict[str, Any]) -> None:
    node = DriftCheck("t.shown", **deck)
    again = in_pod(node)
    assert again.disable_deck is node.disable_deck
    assert again.deck_fields == node.deck_fields


def test_tracking_travels_with_the_node() -> None:
    secret = Secret(group="wandb", key="api_key")
    node = wandb_init(project="p", entity="e", secret=secret)(DriftCheck("t.tracked"))
    settings = tracking_of(in_pod(node))
    assert settings is not None
    assert settings.project == "p"
    assert (settings.secret.group, settings.secret.key) == ("wandb", "api_key")
    assert node.security_context.secrets == [secret]


def a_key() -> str:
    """A secret that cannot be written down."""
    return "k" * 40


kept = wandb_init(project="p", entity="e", secret=a_key)(DriftCheck("t.kept"))


def test_a_callable_secret_needs_a_variable_of_the_module() -> None:
    assert kept.task_resolver.location.endswith("default_task_resolver")
    assert kept.lhs == "kept"


def test_a_node_has_a_name() -> None:
    with pytest.raises(ConfigError, match="must have a name"):
        DriftCheck("")


def test_a_changed_configuration_is_another_cache_entry() -> None:
    versions = {
        DriftCheck("t.cached", rule=DriftRule(alpha=alpha), cache=True).metadata.cache_version
        for alpha in (0.05, 0.05, 0.01)
    }
    assert len(versions) == 2


def test_everything_that_describes_a_task_is_registered() -> None:
    node = DriftCheck(
        "t.described",
        cache=True,
        cache_version="mine",
        cache_serialize=True,
        cache_ignore_input_vars=("past",),
        interruptible=True,
        deprecated="use another",
        pod_template_name="gpu",
    )
    plain = DriftCheck("t.described", cache=True).metadata.cache_version
    registered = node.metadata.to_taskmetadata_model()
    assert registered.discovery_version == f"{plain}-mine"
    assert registered.cache_serializable
    assert tuple(registered.cache_ignore_input_vars) == ("past",)
    assert registered.interruptible
    assert registered.deprecated_error_message == "use another"
    assert node.metadata.pod_template_name == "gpu"


def test_flytekits_cache_object_is_taken_too() -> None:
    plain = DriftCheck("t.cached", cache=True).metadata
    node = DriftCheck(
        "t.cached", cache=Cache(version="mine", serialize=True, ignored_inputs="past")
    )
    assert node.metadata.cache is True
    assert node.metadata.cache_version == f"{plain.cache_version}-mine"
    assert node.metadata.cache_serialize
    assert node.metadata.cache_ignore_input_vars == ("past",)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"retires": 3}, "retries"),
        ({"rul": DriftRule()}, "rule"),
        ({"request": None}, "requests"),
        ({"interuptible": True}, "interruptible"),
        ({"something": 1}, "got something="),
        ({"cache": "yes"}, "flytekit.Cache"),
        ({"cache": Cache(version="1"), "cache_version": "2"}, "have cache_version in its Cache"),
        ({"cache": Cache(version="1"), "cache_serialize": True}, "have cache_serialize in"),
        ({"metadata": TaskMetadata(cache=True, cache_version="1")}, "got metadata="),
        ({"metadata": None}, "got metadata="),
        ({"interface": None}, "got interface="),
        ({"security_ctx": None}, "got security_ctx="),
        ({"task_type": "x"}, "got task_type="),
        ({"task_config": None}, "got task_config="),
        ({"task_resolver": None}, "got task_resolver="),
        ({"pickle_untyped": True}, "got pickle_untyped="),
    ],
    ids=str,
)
def test_an_argument_that_nothing_takes_is_refused(wrong: dict[str, Any], hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        DriftCheck("t.wrong", **wrong)


def test_every_argument_of_a_task_reaches_the_node_or_is_refused() -> None:
    plain = get_serializable({}, SETTINGS, DriftCheck("t.any")).to_flyte_idl()
    for name in set(inspect.signature(task).parameters) - {"pod_template"}:
        if name not in ARGUMENTS:
            with pytest.raises(ConfigError, match=f"got {name}="):
                DriftCheck("t.any", **{name: None})
            continue
        node = DriftCheck("t.any", **{name: ARGUMENTS[name]})
        assert get_serializable({}, SETTINGS, node).to_flyte_idl() != plain, name


def drift_check(**arguments: Any) -> Any:
    return DriftCheck("t.deck", **arguments)


def scoring(**arguments: Any) -> Any:
    return batch_scoring(**arguments)(double)


def double(batch: pd.DataFrame) -> pd.DataFrame:
    return batch * 2


@pytest.mark.parametrize("make", [drift_check, scoring])
def test_the_deck_can_be_switched_off_as_for_any_task(make: Callable[..., Any]) -> None:
    assert not make().disable_deck
    assert make(disable_deck=True).disable_deck
    assert make(enable_deck=False).disable_deck
    assert not make(disable_deck=False).disable_deck


def test_task_keywords_reach_the_task() -> None:
    node = DriftCheck(
        "t.keywords",
        retries=3,
        environment={"A": "1"},
        secret_requests=[Secret(group="g", key="k")],
    )
    assert node.metadata.retries == 3
    assert node.environment == {"A": "1"}
    assert node.security_context.secrets[0].group == "g"


def test_an_alert_without_rules_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one rule"):
        DegradationAlert("t.no_rules", rules=[])


def window(seed: int, shift: float = 0.0) -> pd.DataFrame:
    """Five hundred rows of one feature."""
    return pd.DataFrame({"x": np.random.default_rng(seed).normal(shift, 1.0, 500)})


def test_nodes_made_inside_a_workflow_run_there() -> None:
    @workflow
    def check(reference: pd.DataFrame, current: pd.DataFrame) -> bool:
        fixed = ProfileData("t.inner_reference")(data=reference)
        counted = ProfileData("t.inner_current")(data=current, like=fixed)
        return DriftCheck("t.inner_drift")(reference=fixed, current=counted).drifted

    assert check(reference=window(1), current=window(2)) is False
    assert check(reference=window(1), current=window(2, shift=1.0)) is True


def test_partitions_are_profiled_by_a_mapped_node_and_add_up() -> None:
    profile, merge = ProfileData("t.part"), MergeProfiles("t.parts")

    @workflow
    def merged(parts: list[StructuredDataset], like: Profile) -> Profile:
        counted = map_task(functools.partial(profile, like=like))(data=parts)
        return merge(profiles=counted)

    frame = window(3)
    reference = profile_data(window(1))
    halves = [StructuredDataset(dataframe=frame[:200]), StructuredDataset(dataframe=frame[200:])]
    both = merged(parts=halves, like=reference)
    whole = profile_data(frame, like=reference)
    assert both.n_rows == whole.n_rows == 500
    assert (both.features["x"].counts == whole.features["x"].counts).all()


def test_reports_are_shown_on_the_deck_and_logged_to_the_open_run(tmp_path: Path) -> None:
    node = wandb_init(project="p", entity="e", dir=str(tmp_path), mode="offline")(
        DriftCheck("t.shown")
    )
    reference = profile_data(window(1))
    current = profile_data(window(2, shift=1.0), like=reference)
    with pod_context(tmp_path / "pod", task="t.shown") as context:
        outputs = execute(context, node, reference=reference, current=current)
        decks = {deck.name: deck.html for deck in context.user_space_params.decks}
    assert outputs["drifted"] is True
    assert "Drift in 1 of 1 features" in decks["Drift report"]
    run = find_run(tmp_path / "wandb")
    assert run.column("drift/drifted") == [1]
    assert run.exit_code == 0


def test_without_a_run_the_deck_still_shows_the_report(tmp_path: Path) -> None:
    reference = profile_data(window(1))
    with pod_context(tmp_path, task="t.plain") as context:
        execute(context, DriftCheck("t.plain"), reference=reference, current=reference)
        assert "Drift report" in [deck.name for deck in context.user_space_params.decks]


def test_an_alert_is_sent_through_the_run(tmp_path: Path) -> None:
    node = wandb_init(project="p", entity="e", dir=str(tmp_path), mode="offline")(
        DegradationAlert("t.sent", rules=[AlertRule(metric="drift.drifted", above=0)])
    )
    reference = profile_data(window(1))
    report = check_drift(reference, profile_data(window(2, shift=1.0), like=reference))
    with pod_context(tmp_path / "pod", task="t.sent") as context:
        outputs = execute(context, node, drift=report, at=datetime(2026, 2, 5, tzinfo=timezone.utc))
    assert outputs["fired"] is True
    assert outputs["severity"] == "warn"
    assert outputs["decision"].alerts[0].since == datetime(2026, 2, 5, tzinfo=timezone.utc)
    (alert,) = find_run(tmp_path / "wandb").alerts
    assert "x" in alert.text


def test_a_table_is_checked_window_by_window() -> None:
    frame = pd.concat([window(2), window(4, shift=1.0)], ignore_index=True)
    frame["at"] = pd.to_datetime(["2026-02-02"] * 500 + ["2026-02-03"] * 500, utc=True)
    node = DriftSeriesCheck("t.series", at="at")
    checked = node(data=StructuredDataset(dataframe=frame), reference=profile_data(window(1)))
    assert checked.drifted is True
    assert [found.report.drifted for found in checked.series.windows] == [False, True]


def test_a_series_must_be_cut_by_something() -> None:
    with pytest.raises(ConfigError, match="got neither"):
        DriftSeriesCheck("t.uncut")


def test_past_windows_make_a_check_stricter() -> None:
    reference = profile_data(window(1))
    past = [profile_data(window(seed, shift=seed % 3 - 1.0), like=reference) for seed in range(12)]
    current = profile_data(window(20, shift=1.0), like=reference)
    node = DriftCheck("t.past")
    assert node(reference=reference, current=current).drifted is True
    assert node(reference=reference, current=current, past=past).drifted is False
