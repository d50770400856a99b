"""A path that only one pod sees is refused where other pods need it, before anything is lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, get_args, get_type_hints

import pandas as pd
import pytest
from flytekit import FlyteContextManager, dynamic, map_task, task
from flytekit.tools.translator import get_serializable

from flytekitplugins.wbmon import (
    AlertRule,
    AnalyzeSteps,
    AnswerPrompts,
    CompactPredictionLog,
    DeadManCheck,
    DegradationAlert,
    DriftCheck,
    EvaluatePrompts,
    ReplayToWeave,
    SyncOfflineRuns,
    SyncOfflineTraces,
    Variant,
    batch_scoring,
    tasks,
    wandb_init,
)
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.shared_urls import require_shared
from flytekitplugins.wbmon.llm import weave_init
from flytekitplugins.wbmon.tasks._node import Node
from support import llm_functions
from support.in_process import execute, pod_context
from support.package import SETTINGS

BUCKET = "s3://bucket/x"
RULE = AlertRule(metric="performance.accuracy", below=0.8)
VARIANTS = [Variant.of_text("a", "{question}", model="m")]
WEAVE = {"project": "p", "entity": "e", "secret": None}
PROMPTS = {"answer": llm_functions.answer, "variants": VARIANTS}

SETTINGS_OF_NODES: dict[str, Callable[[str], Node[Any]]] = {
    "state_uri": lambda url: DegradationAlert("t.alert", rules=[RULE], state_uri=url),
    "watched_uri": lambda url: DeadManCheck("t.dead", watched_uri=url),
    "data_uri": lambda url: DeadManCheck("t.data", data_uri=url, state_uri=BUCKET),
    "state_uri ": lambda url: DeadManCheck("t.own", data_uri=BUCKET, state_uri=url),
    "destination": lambda url: CompactPredictionLog("t.log", destination=url, service="api"),
    "offline_store": lambda url: SyncOfflineRuns("t.runs", offline_store=url),
    "offline_store ": lambda url: SyncOfflineTraces("t.traces", secret=None, offline_store=url),
    "offline_store  ": lambda url: ReplayToWeave("t.replay", **WEAVE, offline_store=url),
    "registry": lambda url: EvaluatePrompts("t.registry", **PROMPTS, registry=url),
    "registry ": lambda url: AnswerPrompts("t.ask", **PROMPTS, answer_store=BUCKET, registry=url),
    "answer_store": lambda url: EvaluatePrompts("t.prompts", **PROMPTS, answer_store=url),
    "answer_store ": lambda url: AnswerPrompts("t.answers", **PROMPTS, answer_store=url),
}


@task
def double(n: int) -> int:
    """Any task."""
    return 2 * n


def registered(entity: Any) -> Any:
    """The entity as `pyflyte package`, `register` and `run --remote` compile it."""
    return get_serializable({}, SETTINGS, entity)


@pytest.mark.parametrize(
    "path",
    [
        "out/state",
        "/root/state",
        "~/state",
        "./state.json",
        "state:1",
        "s3:/bucket/x",
        "file://out/state",
        "local://state",
        "memory://state",
        "zip://a::/root/a.zip",
        "simplecache::s3://b/x",
        "/mnt/s3://b",
        "rel/s3://b",
        "simplecache::file:///mnt/x",
        "S3://b/x",
        "FILE:///mnt/x",
        "s4://q",
        " s3://b/x",
        "memory://",
        Path("out/state"),
    ],
)
def test_what_one_pod_has_is_refused(path: str | Path) -> None:
    with pytest.raises(ConfigError, match="DegradationAlert 'a' must have state_uri"):
        require_shared("DegradationAlert 'a'", {"state_uri": path})


@pytest.mark.parametrize(
    "url",
    ["", None, BUCKET, "gs://b/x", "abfs://b@a/x", "file:///mnt/nfs/x", "local:///mnt/a::s3://x"],
)
def test_what_all_pods_share_is_taken(url: str | None) -> None:
    require_shared("anything", {"state_uri": url})


def test_the_refusal_shows_no_password_and_what_to_write() -> None:
    with pytest.raises(ConfigError, match=r"'s3://bucket/out/state'.*'file://'") as refused:
        require_shared("a", {"state_uri": "out/state", "other": BUCKET})
    assert "is lost with it" in str(refused.value)
    with pytest.raises(ConfigError) as refused:
        require_shared("a", {"state_uri": "memory://me:hunter2@host/x"})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("S3://bucket/x", "'S3'; write s3://"),
        ("s4://bucket/x", "'s4'; write s3://"),
        ("simplecache::s3://b/x", "is a chain of file systems, .* the last URL of it"),
        ("/mnt/s3://b", "give a URL such as 's3://"),
    ],
)
def test_what_cannot_work_is_refused_with_its_cure_before_it_is_packaged(
    url: str, cure: str
) -> None:
    for make in SETTINGS_OF_NODES.values():
        with pytest.raises(ConfigError, match=rf"where all pods see it, got '{url}', .*{cure}"):
            registered(make(url))


@pytest.mark.parametrize("setting", SETTINGS_OF_NODES)
def test_a_node_is_refused_when_it_is_registered(setting: str) -> None:
    make, name = SETTINGS_OF_NODES[setting], setting.strip()
    node = make("out/x")
    with pytest.raises(ConfigError, match=rf"{node.name}' must have {name}"):
        registered(node)
    registered(make(BUCKET))
    registered(make("file:///mnt/x"))


def test_a_mapped_node_is_refused_as_well() -> None:
    ask = SETTINGS_OF_NODES["answer_store "]
    with pytest.raises(ConfigError, match=r"AnswerPrompts 't.answers' must have answer_store"):
        registered(map_task(ask("out/answers")))
    registered(map_task(ask(BUCKET)))


@pytest.mark.parametrize("setting", SETTINGS_OF_NODES)
def test_a_node_of_an_older_package_is_refused_in_the_pod_before_it_works(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = SETTINGS_OF_NODES[setting](str(tmp_path / "x"))
    worked: list[Any] = []
    monkeypatch.setattr(type(node), "compute", lambda *_, **given: worked.append(given))
    with pod_context(tmp_path), pytest.raises(ConfigError, match=f"have {setting.strip()} where"):
        node.execute()
    assert worked == []
    node.execute()
    assert worked == [{}], "on one machine every task sees the disk"


def test_an_input_that_is_a_path_is_refused_in_the_pod(tmp_path: Path) -> None:
    node = AnalyzeSteps("t.steps")
    registered(node)
    with (
        pod_context(tmp_path) as context,
        pytest.raises(Exception, match=r"AnalyzeSteps 't.steps' must have call_log"),
    ):
        execute(context, node, call_log=str(tmp_path))
    assert node(call_log=str(tmp_path)).n_failed == 0


def test_every_setting_that_names_files_is_declared() -> None:
    words = ("uri", "url", "store", "registry", "destination", "folder", "path", "call_log")
    for module in iter_modules(tasks.__path__, f"{tasks.__name__}."):
        for kind in vars(import_module(module.name)).values():
            if not isinstance(kind, type) or not issubclass(kind, Node) or kind is Node:
                continue
            config = next(get_args(base)[0] for each in kind.__mro__
                          for base in vars(each).get("__orig_bases__", ()))  # fmt: skip
            named = {each.name for each in dataclasses.fields(config)} | {
                name for name, hint in get_type_hints(kind.compute).items() if hint is str
            }
            files = {name for name in named if name.endswith(words)}
            # an alert that has no argument for its memory keeps none
            undeclared = files - {*kind.shared_urls} - {"state_uri"}
            assert not undeclared, f"{kind.__name__} has {undeclared}"


stored = wandb_init(project="p", entity="e", offline_store="out/runs")
logged = weave_init(project="p", entity="e", call_log="out/calls")


@stored
@task
def stored_above(n: int) -> int:
    return 2 * n


@task
@stored
def stored_below(n: int) -> int:
    return 2 * n


@stored
@dynamic
def stored_dynamic(n: int) -> int:
    return double(n=n)


@stored
@batch_scoring
def stored_scoring(batch: pd.DataFrame) -> pd.DataFrame:
    return batch


@logged
@task
def logged_above(n: int) -> int:
    return 2 * n


@task
@logged
def logged_below(n: int) -> int:
    return 2 * n


@task
@wandb_init(project="p", entity="e", offline_store="out/runs", enabled=False)
@weave_init(project="p", entity="e", offline_store="out/runs", enabled=False)
def switched_off(n: int) -> int:
    return 2 * n


# a copy of a decorated task does not bring its refusal to the one that it is a copy of
stored_map = stored(map_task(double))


@pytest.mark.parametrize(
    ("entity", "words"),
    [
        (stored_above, "wandb_init of .*stored_above' must have offline_store"),
        (stored_below, "wandb_init of .*stored_below' must have offline_store"),
        (stored_dynamic, "wandb_init of .*stored_dynamic' must have offline_store"),
        (stored_scoring, "wandb_init of .*stored_scoring' must have offline_store"),
        (map_task(stored_above), "wandb_init of .*stored_above' must have offline_store"),
        (map_task(stored_below), "wandb_init of .*stored_below' must have offline_store"),
        (stored_map, "wandb_init of .*double.*' must have offline_store"),
        (stored(DriftCheck("t.drift")), "wandb_init of 't.drift' must have offline_store"),
        (logged_above, "weave_init of .*logged_above' must have call_log"),
        (logged_below, "weave_init of .*logged_below' must have call_log"),
        (logged(DriftCheck("t.drift")), "weave_init of 't.drift' must have call_log"),
    ],
)
def test_a_decorated_task_is_refused_when_it_is_registered(entity: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        registered(entity)


def test_what_is_switched_off_or_plain_is_registered() -> None:
    registered(switched_off)
    registered(double)


def test_a_decorated_function_is_refused_in_the_pod_and_does_not_begin(tmp_path: Path) -> None:
    begun: list[int] = []

    @stored
    def helper(n: int) -> None:
        begun.append(n)

    with pod_context(tmp_path), pytest.raises(ConfigError, match="helper' must have offline_sto"):
        helper(1)
    assert begun == []


@dynamic
def alert_of_the_night() -> bool:
    """Makes a node whose state only its own pod would see."""
    return DegradationAlert("t.inner", rules=[RULE], state_uri="out/state.json")().fired


def test_what_a_dynamic_task_makes_in_its_pod_is_refused(tmp_path: Path) -> None:
    with (
        pod_context(tmp_path) as context,
        FlyteContextManager.with_context(context.with_serialization_settings(SETTINGS)) as inner,
        pytest.raises(Exception, match=r"DegradationAlert 't.inner' must have state_uri"),
    ):
        execute(inner, alert_of_the_night)
