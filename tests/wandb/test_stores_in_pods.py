"""Runs of pods in a store: on an S3 that only Flyte's variables tell of, and out of reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.propeller import Package, Pod, Store, load_package, package, run_pod, to_literals
from support.wandb_log import find_run
from support.wandb_server import KEY, WandbServer

if TYPE_CHECKING:
    from support.s3 import S3Server

pytestmark = [pytest.mark.flyte, pytest.mark.slow]
PROJECT = Path(__file__).parent / "project"
NOWHERE = "http://127.0.0.1:9"
RAW, MISSING = "s3://flyte-only/raw", "s3://out-of-reach/runs"
UNSET = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "us-east-1"}
CLOSED = {
    "FLYTE_AWS_ENDPOINT": NOWHERE,
    "FLYTE_AWS_ACCESS_KEY_ID": "planted-id-0123",
    "FLYTE_AWS_SECRET_ACCESS_KEY": "planted-secret-0123456789",
}
Run = Callable[..., Pod]


@pytest.fixture(scope="module")
def server() -> Iterator[WandbServer]:
    with WandbServer() as server:
        yield server


@pytest.fixture(scope="module")
def tasks(server: WandbServer) -> Package:
    env = {"API_HOST": server.url, "STORES": f"{RAW} {MISSING}"}
    return load_package(package(PROJECT, ["stored"], env=env))


@pytest.fixture
def run(tasks: Package, server: WandbServer, tmp_path: Path) -> Run:
    """Runs one of the tasks as a pod."""

    def run(task: str, store: Store, **env: str) -> Pod:
        return run_pod(
            tasks.tasks[f"stored.{task}"],
            to_literals({}),
            project=PROJECT,
            store=store,
            disk=tmp_path / task,
            secrets={"wandb/api_key": KEY},
            env={"API_HOST": server.url} | env,
        )

    return run


def flyte_only(s3: S3Server) -> Store:
    """A bucket as a pod of Flyte's sandbox sees it: without a variable of AWS's own."""
    bucket = s3.bucket("flyte-only")
    env = {name: value for name, value in bucket.env.items() if name.startswith("FLYTE_AWS")}
    return replace(bucket, env=env)


def test_a_run_waits_on_s3_that_only_flyte_knows_and_a_node_delivers_it_from_there(
    run: Run, server: WandbServer, s3: S3Server
) -> None:
    bucket = flyte_only(s3)
    server.stop()
    score = run("score", bucket)
    server.start()
    assert score.succeeded, score.log
    kept = f"{score.raw}/wandb-offline/"
    assert f"the run is kept in {kept}" in score.log
    assert f"the run is kept in {kept}" in score.deck
    assert [path for path in bucket.files(kept) if path.endswith("/manifest.json")]

    sync = run("sync0", bucket)
    assert sync.succeeded, sync.message
    assert server.run("payments", "waits").column("row") == [0, 1, 2]
    assert bucket.files(kept) == []
    assert all(KEY not in text for pod in (score, sync) for text in (pod.log, pod.deck))


@pytest.mark.parametrize(
    ("env", "said"),
    [
        (UNSET, ("NoCredentialsError", "FLYTE_AWS_ACCESS_KEY_ID", "or a role")),
        (CLOSED, ("see that", "is up and can be reached from here")),
    ],
    ids=["no credentials", "closed port"],
)
def test_a_store_out_of_reach_is_named_and_the_run_stays_where_it_is_said_to_be(
    run: Run, local_store: Store, env: dict[str, str], said: tuple[str, ...]
) -> None:
    score = run("score", local_store, API_HOST=NOWHERE, OFFLINE_STORE=MISSING, **env)
    assert score.succeeded, score.log
    run_folder = find_run(score.disk).path.parent
    for text in (score.log, score.deck):
        for part in (MISSING, str(run_folder), *said):
            assert part in text
        assert "planted" not in text
    assert find_run(score.disk).column("row") == [0, 1, 2]


def test_a_sync_whose_store_is_out_of_reach_fails_and_says_what_to_do(
    run: Run, local_store: Store
) -> None:
    sync = run("sync1", local_store, **UNSET)
    assert not sync.succeeded
    for part in ("StorageError", MISSING, "FLYTE_AWS_ACCESS_KEY_ID"):
        assert part in sync.message
