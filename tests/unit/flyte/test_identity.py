from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from unittest import mock

import pytest
from flyteidl.admin.task_pb2 import TaskSpec
from flytekit import FlyteContextManager
from flytekit.bin.entrypoint import setup_execution
from hypothesis import example, given
from hypothesis import strategies as st

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.identity import (
    MAX_ID_LENGTH,
    TaskIdentity,
    check_template,
    current_identity,
    is_template,
    run_id,
)
from support.in_process import pod_context
from support.place import EXECUTION, Place
from support.pod import pod_environment

AT = datetime(2026, 3, 9, 23, 30, tzinfo=timezone.utc)
POD = TaskIdentity(
    is_local=False, execution="exec", node="n0", attempt=1, task="wf.train", started_at=AT
)


def id_in_pod(folder: Path, place: Place, **options: object) -> str:
    with pod_context(folder, place=place, **options):
        found = run_id(current_identity("wf.train"))
    assert found is not None
    return found


def test_outside_of_a_task_the_identity_is_local_and_the_id_is_left_to_wandb() -> None:
    identity = current_identity("wf.train")
    assert identity.is_local
    assert identity.task_name == "train"
    assert run_id(identity) is None
    assert identity.to_config() == {"is_local": True, "task": "wf.train"}


def test_in_a_pod_everything_that_flyte_says_is_known(tmp_path: Path) -> None:
    with pod_context(tmp_path, place=Place(node="n2", attempt=3), task="wf.train"):
        block = current_identity("wf.train").to_config()
    assert block.pop("execution_url").endswith("/nodeId/n2/nodes")
    assert block == {
        "is_local": False,
        "execution": EXECUTION,
        "project": "flytesnacks",
        "domain": "development",
        "workflow": "workflow",
        "task": "wf.train",
        "version": "v1",
        "node": "n2",
        "attempt": 3,
    }


def test_a_mapped_task_keeps_the_name_of_its_function(tmp_path: Path) -> None:
    with pod_context(tmp_path, place=Place(shard=2), task="wf.map_train_9f8e-arraynode"):
        identity = current_identity("wf.train")
    assert identity.task_name == "train"
    assert identity.shard == 2


def test_the_id_in_a_pod_is_that_of_the_pod(tmp_path: Path) -> None:
    assert id_in_pod(tmp_path, Place(node="n4", attempt=2)) == f"{EXECUTION}-n4-2"


@pytest.mark.parametrize("linked", [True, False], ids=["from the url", "from the host"])
@pytest.mark.parametrize("env", [{}, {"HOSTNAME": "ip-10-0-0-1"}], ids=["own host", "shared host"])
def test_ids_differ_by_node_shard_and_attempt(
    tmp_path: Path, linked: bool, env: dict[str, str]
) -> None:
    places = [
        Place(node=node, attempt=attempt, shard=shard, within=within)
        for node in ("n0", "n1", "dn0")
        for within in (None, Place(node="n2"), Place(node="n2", attempt=1))
        for shard in (None, 0, 1)
        for attempt in (0, 1)
    ]
    ids = [
        id_in_pod(tmp_path / str(number), place, linked=linked, env=env)
        for number, place in enumerate(places)
    ]
    again = [
        id_in_pod(tmp_path / str(number), place, linked=linked, env=env)
        for number, place in enumerate(places)
    ]
    assert len(set(ids)) == len(places)
    assert ids == again


@given(
    execution=st.from_regex(r"[a-z][a-z0-9-]{0,62}", fullmatch=True),
    nodes=st.lists(st.from_regex(r"d?n[0-9]{1,3}|[a-z-]{1,20}", fullmatch=True), min_size=1),
    attempt=st.integers(0, 120),
    shard=st.none() | st.integers(0, 5000),
    host=st.sampled_from(["", "ip-10-0-0-1"]),
)
def test_the_id_is_the_name_of_the_pod_wherever_it_stands(
    execution: str, nodes: list[str], attempt: int, shard: int | None, host: str
) -> None:
    place: Place | None = None
    for node in nodes:
        place = Place(node=node, execution=execution, within=place)
    assert place is not None
    place = replace(place, attempt=attempt, shard=shard)
    spec = TaskSpec()
    spec.template.config["link_type"] = "wandb-execution-id"
    env = {**pod_environment(spec, place), **({"HOSTNAME": host} if host else {})}
    with mock.patch.dict(os.environ, env), setup_execution(raw_output_data_prefix="raw"):
        assert run_id(current_identity("wf.train")) == place.pod_name


def test_an_execution_that_an_eager_one_begins_is_of_its_group(tmp_path: Path) -> None:
    with pod_context(tmp_path):
        assert current_identity().group == EXECUTION
        assert "root" not in current_identity().to_config()
    with pod_context(tmp_path, env={"_F_EE_ROOT": "a1b2c3"}):
        identity = current_identity()
    assert (identity.group, identity.execution) == ("a1b2c3", EXECUTION)
    assert identity.to_config()["root"] == "a1b2c3"
    assert run_id(identity) == Place().pod_name


def test_a_process_of_a_local_elastic_task_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLYTE_INTERNAL_EXECUTION_ID", raising=False)
    # what kfpytorch does in each of them
    with setup_execution(raw_output_data_prefix="raw"):
        identity = current_identity("wf.train")
    assert identity.is_local
    assert run_id(identity) is None
    assert run_id(identity, suffix="-r1") is None


def test_a_mode_of_none_is_not_a_pod() -> None:
    state = FlyteContextManager.current_context().execution_state
    assert state.mode is None
    assert current_identity().is_local


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("fixed-id", "fixed-id"),
        ("{task}-{date}", "train-2026-03-09"),
        ("monthly-{date:%Y%m}", "monthly-202603"),
        ("{execution}.{node}.{attempt}", "exec.n0.1"),
        ("{task}{shard}", "train"),
    ],
)
def test_a_template_is_filled_from_the_identity(template: str, expected: str) -> None:
    check_template(template)
    assert run_id(POD, template) == expected
    assert is_template(template) is ("{" in template)


def test_outside_a_pod_a_template_says_local() -> None:
    assert run_id(TaskIdentity(task="train"), "{execution}-{task}") == "local-train"


def test_a_suffix_survives_the_cut() -> None:
    first, second = (run_id(POD, "x" * 80, suffix=suffix) for suffix in ("-r0", "-r1"))
    assert first != second


@pytest.mark.parametrize("template", ["a/b", "what: now", "{pod}", "", " ", "id#1", "{unclosed"])
def test_an_id_that_wandb_would_refuse_is_refused_at_once(template: str) -> None:
    with pytest.raises(ConfigError, match="id "):
        check_template(template)


@pytest.mark.parametrize("template", ["{date:%}", "n-{date:abc}", "{date:%z}", "{attempt:03d}"])
def test_a_format_that_is_of_no_use_is_refused_at_once(template: str) -> None:
    with pytest.raises(ConfigError, match="format"):
        check_template(template)


@example(execution="e", node="{0}", attempt=0)
@given(execution=st.text(min_size=1), node=st.text(min_size=1), attempt=st.integers(0, 99))
def test_every_id_is_allowed_short_and_stable(execution: str, node: str, attempt: int) -> None:
    identity = TaskIdentity(is_local=False, execution=execution, node=node, attempt=attempt)
    found = run_id(identity)
    assert found is not None
    assert re.fullmatch(rf"[A-Za-z0-9_.-]{{1,{MAX_ID_LENGTH}}}", found)
    assert found == run_id(identity)


def test_long_ids_that_differ_only_at_the_end_stay_different() -> None:
    names = ["e" * 90 + end for end in ("a", "b")]
    pods = [TaskIdentity(is_local=False, execution=name) for name in names]
    assert run_id(pods[0]) != run_id(pods[1])
    first, second = (run_id(pod, "{execution}") for pod in pods)
    assert first != second
    assert first is not None
    assert len(first) == MAX_ID_LENGTH
