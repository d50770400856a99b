"""What a pod finds around it, and what becomes of one that ends badly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.catalog import Catalog
from support.container_kill import as_container
from support.place import EXECUTION
from support.propeller import (
    Package,
    Propeller,
    Store,
    WorkflowFailed,
    from_literals,
    load_package,
    package,
    prepare_pod,
    to_literals,
)

PROJECT = Path(__file__).parent / "project"


@pytest.fixture(scope="module")
def ends() -> Package:
    return load_package(package(PROJECT, ["ends"]))


@pytest.fixture
def propeller(cluster: Callable[..., Propeller], ends: Package) -> Propeller:
    return cluster(ends, project=PROJECT, apart=())


@pytest.fixture
def looks(propeller: Propeller) -> list[dict[str, Any]]:
    """What the pods of `look` saw, in every place of a workflow."""
    outputs = propeller.workflow("ends.within", to_literals({"xs": [1, 2]}, {"xs": list[int]}))
    seen = from_literals(outputs, {"o0": list[str]})["o0"]
    shards = [pod for pod in propeller.pods if pod.place.shard is not None]
    seen += [from_literals(pod.outputs, {"o0": str})["o0"] for pod in shards if pod.outputs]
    return [json.loads(text) for text in seen]


def test_every_pod_is_told_the_workflow_of_its_execution(looks: list[dict[str, Any]]) -> None:
    told = [look["FLYTE_INTERNAL_EXECUTION_WORKFLOW"].rpartition(":")[2] for look in looks]
    assert told == ["ends.within", "ends.inner", *["ends.within"] * 3]


def test_a_launch_plan_in_a_workflow_is_an_execution_of_its_own(
    looks: list[dict[str, Any]], propeller: Propeller
) -> None:
    names = [look["FLYTE_INTERNAL_EXECUTION_ID"] for look in looks]
    child = names.pop(1)
    assert set(names) == {EXECUTION}
    assert child != EXECUTION
    assert len(child) == 8
    assert looks[1]["HOSTNAME"] == f"{child}-n0-0"


def test_only_shards_know_their_index(looks: list[dict[str, Any]]) -> None:
    names = [look.get("BATCH_JOB_ARRAY_INDEX_VAR_NAME") for look in looks]
    assert names == [None] * 3 + ["FLYTE_K8S_ARRAY_INDEX"] * 2
    assert [look["FLYTE_K8S_ARRAY_INDEX"] for look in looks[3:]] == ["0", "1"]


def test_later_variables_beat_earlier_ones(
    ends: Package, local_store: Store, tmp_path: Path
) -> None:
    envs = {"FROM": "execution", "MODE": "execution", "FLYTE_ATTEMPT_NUMBER": "execution"}
    container = prepare_pod(
        ends.tasks["ends.look"],
        to_literals({"x": 1}),
        project=PROJECT,
        store=local_store,
        disk=tmp_path,
        env={**envs, "LAST": "execution"},
        defaults={"LAST": "cluster", "MODE": "cluster"},
    )
    names = ("ONLY", "FROM", "FLYTE_ATTEMPT_NUMBER", "LAST", "MODE")
    assert [container.env[name] for name in names] == [
        *("task", "execution", "execution"),
        *("cluster", "cluster"),
    ]


def test_secrets_are_where_the_webhook_puts_them(
    ends: Package, local_store: Store, tmp_path: Path
) -> None:
    kept = {"as-any/KEY": "1", "as-file/key": "2", "as-var/key": "3", "other/key": "4"}
    kept |= {"named-file/key": "5", "named-var/key": "6"}
    container = prepare_pod(
        ends.tasks["ends.open_secrets"],
        to_literals({}),
        project=PROJECT,
        store=local_store,
        disk=tmp_path,
        secrets=kept,
    )
    folder = container.disk / "secrets"
    found = {name: text for name, text in container.env.items() if "SEC" in name or "WH" in name}
    assert found == {
        "FLYTE_SECRETS_DEFAULT_DIR": str(folder),
        "FLYTE_SECRETS_FILE_PREFIX": "",
        "FLYTE_SECRETS_ENV_PREFIX": "_FSEC_",
        "_FSEC_AS-VAR_KEY": "3",
        "_FSEC_NAMED-VAR_KEY": "6",
        "WHAT": "6",
        "WHERE": str(folder / "named-file" / "key"),
    }
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == ["as-any/key", "as-file/key", "named-file/key"]
    pod = container.run_here()
    assert pod.outputs is not None, pod.message
    assert from_literals(pod.outputs, {"o0": list[str]})["o0"] == ["1", "2", "3"]


def attempts(propeller: Propeller, workflow: str, **inputs: int) -> int:
    """How many pods it took, and whether the last one failed: then the number is negative."""
    try:
        propeller.workflow(f"ends.{workflow}", to_literals(inputs))
    except WorkflowFailed:
        return -len(propeller.pods)
    return len(propeller.pods)


@pytest.mark.parametrize(
    ("workflow", "code", "before", "expected"),
    [
        ("left", 1, 1, 2),
        ("left", 9, 3, 4),
        ("left", 137, 9, -4),
        ("left_with_retries", 1, 9, -4),
        ("left", 0, 1, -1),
        ("left_with_retries", 0, 1, 2),
        ("left_with_retries", 0, 9, -2),
    ],
)
def test_a_lost_pod_costs_no_retry_and_one_without_outputs_does(
    propeller: Propeller, workflow: str, code: int, before: int, expected: int
) -> None:
    assert attempts(propeller, workflow, code=code, before=before) == expected
    assert propeller.pods[0].message.startswith("OutputsNotFound" if code == 0 else "Interrupted")


@pytest.mark.parametrize(("task", "reason"), [("grow", "OOMKilled"), ("wait", "timeout")])
def test_too_much_memory_or_time_ends_a_pod_at_the_users_cost(
    ends: Package, local_store: Store, tmp_path: Path, task: str, reason: str
) -> None:
    pod = prepare_pod(
        ends.tasks[f"ends.{task}"],
        to_literals({"x": 1}),
        project=PROJECT,
        store=local_store,
        disk=tmp_path,
    ).run()
    assert pod.message == reason
    assert pod.retryable
    assert not pod.interrupted


def test_a_task_can_be_the_first_process_of_its_container(
    ends: Package, local_store: Store, tmp_path: Path
) -> None:
    container = prepare_pod(
        ends.tasks["ends.look"],
        to_literals({"x": 1}),
        project=PROJECT,
        store=local_store,
        disk=tmp_path,
    )
    pod = container.run(within=as_container())
    assert pod.outputs is not None, pod.log
    assert json.loads(from_literals(pod.outputs, {"o0": str})["o0"])["pid"] == 1


def test_shards_write_no_deck(propeller: Propeller) -> None:
    outputs = propeller.workflow("ends.shown", to_literals({"xs": [1, 2]}, {"xs": list[int]}))

    assert from_literals(outputs, {"o0": list[int]})["o0"] == [2, 4]
    assert [pod.deck for pod in propeller.pods] == ["", ""]


@pytest.mark.parametrize(
    ("values", "hashes", "hits"),
    [
        ((1, 1), ("", ""), 1),
        ((1, 2), ("", ""), 0),
        ((1, 2), ("same", "same"), 1),
        ((1, 1), ("one", "another"), 0),
    ],
)
def test_a_cached_task_is_found_by_the_hash_of_its_input_or_else_by_its_value(
    cluster: Callable[..., Propeller],
    ends: Package,
    values: tuple[int, int],
    hashes: tuple[str, str],
    hits: int,
) -> None:
    catalog = Catalog()
    for execution, (value, digest) in enumerate(zip(values, hashes, strict=True)):
        propeller = cluster(
            ends, project=PROJECT, execution=f"e{execution}", apart=(), catalog=catalog
        )
        inputs = to_literals({"x": value})
        inputs.literals["x"].hash = digest
        propeller.workflow("ends.kept", inputs)
    assert catalog.hits == ["ends.twice", "ends.thrice"] * hits
