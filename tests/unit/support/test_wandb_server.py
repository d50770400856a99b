"""The loopback W&B server, against the real wandb client."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

import wandb
from support.environment import BIN, clean_environment
from support.waiting import wait_until
from support.wandb_server import ALERT, FILE_STREAM, KEY, STORAGE, Fault, WandbServer

QUICK = {
    "silent": True,
    "console": "off",
    "x_disable_stats": True,
    "x_disable_meta": True,
    "disable_git": True,
    "disable_code": True,
    "init_timeout": 20,
    "finish_timeout": 20,
    "x_file_stream_transmit_interval": 1,
    "x_file_stream_retry_wait_min_seconds": 0.1,
    "x_file_stream_retry_wait_max_seconds": 0.5,
    "x_transaction_log_flush_interval": 1,
}


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with WandbServer() as running:
        yield running


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))


def start_run(server: WandbServer, folder: Path, **options: Any) -> wandb.Run:
    settings = wandb.Settings(base_url=server.url, api_key=KEY, **QUICK)
    return wandb.init(project="p", dir=folder, reinit="create_new", settings=settings, **options)


def log_everything(run: wandb.Run, folder: Path) -> None:
    for window in range(5):
        run.log({"window": window, "loss": 1 / (1 + window)})
    run.log({"table": wandb.Table(columns=["a"], data=[[1], [2]])})
    report = folder / "report.html"
    report.write_text("<b>drift</b>")
    artifact = wandb.Artifact("reports", "report", metadata={"rows": 2})
    artifact.add_file(str(report))
    run.log_artifact(artifact, aliases=["nightly"])
    run.alert("Drift", "psi 0.4", level="WARN", wait_duration=5)


def check_everything(server: WandbServer, run_id: str) -> None:
    served = server.run("p", run_id)
    assert served.column("loss") == [1 / (1 + window) for window in range(5)]
    assert served.config == {"lr": 0.1}
    assert served.summary["loss"] == 0.2
    assert (served.group, served.job_type, served.tags) == ("g", "j", ["a"])
    assert (served.state, served.exit_code, served.n_finished) == ("failed", 1, 1)
    (report,) = [artifact for artifact in server.artifacts if artifact.name == "reports"]
    assert report.committed
    assert report.files["report.html"] == b"<b>drift</b>"
    assert list(report.manifest["contents"]) == ["report.html"]
    assert all(artifact.committed for artifact in server.artifacts)
    (alert,) = server.alerts
    assert (alert.run, alert.title, alert.level, alert.wait_ms) == (run_id, "Drift", "WARN", 5000)
    assert server.unknown == []


def test_an_online_run_arrives_whole_and_can_be_read_with_the_api(
    server: WandbServer, tmp_path: Path
) -> None:
    run = start_run(
        server, tmp_path, id="r1", group="g", job_type="j", tags=["a"], config={"lr": 0.1}
    )
    log_everything(run, tmp_path)
    run.finish(exit_code=1)

    check_everything(server, "r1")
    assert {request.api_key for request in server.requests if request.api_key} == {KEY}
    api = wandb.Api(overrides={"base_url": server.url}, api_key=KEY)
    read = api.run("ops/p/r1")
    assert (read.state, read.group, read.lastHistoryStep) == ("failed", "g", 5)
    assert [row["loss"] for row in read.scan_history(keys=["loss"])] == [
        1 / (1 + window) for window in range(5)
    ]
    assert [run.id for run in api.runs("ops/p")] == ["r1"]
    logged = {artifact.name: artifact for artifact in read.logged_artifacts()}
    assert logged["reports:v0"].state == "COMMITTED"
    report = api.artifact("ops/p/reports:nightly")
    assert report.metadata == {"rows": 2}
    assert Path(report.download(tmp_path / "d"), "report.html").read_text() == "<b>drift</b>"
    report.aliases.append("best")
    report.save()
    assert api.artifact("ops/p/reports:best").version == report.version
    assert [file.name for file in read.files()] != []
    read.tags.append("best")
    read.update()
    assert server.run("p", "r1").tags == ["a", "best"]
    assert server.unknown == []


@pytest.mark.parametrize("command", [["sync"], ["beta", "sync", "--live"]])
def test_an_offline_run_is_synced_by_another_process(
    server: WandbServer, tmp_path: Path, command: list[str]
) -> None:
    run = start_run(
        server,
        tmp_path,
        id="r1",
        group="g",
        job_type="j",
        tags=["a"],
        config={"lr": 0.1},
        mode="offline",
    )
    log_everything(run, tmp_path)
    folder = Path(run.sync_dir)
    run.finish(exit_code=1)
    assert server.requests == []

    done = subprocess.run(
        [sys.executable, str(BIN / "wandb"), *command, str(folder)],
        env={
            **clean_environment(home=tmp_path / "home"),
            **server.env,
            "WANDB_DATA_DIR": os.environ["WANDB_DATA_DIR"],
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    check_everything(server, "r1")


def test_a_resumed_run_goes_on_where_it_ended(server: WandbServer, tmp_path: Path) -> None:
    for first in (0, 3):
        run = start_run(server, tmp_path, id="r1", resume="allow")
        for value in range(first, first + 3):
            run.log({"x": value})
        run.finish()

    assert server.run("p", "r1").column("x") == [0, 1, 2, 3, 4, 5]
    assert server.run("p", "r1").column("_step") == [0, 1, 2, 3, 4, 5]


RUN = "query Run($project: String!, $name: String!)"


@pytest.mark.parametrize(
    ("query", "variables", "message"),
    [
        ("{ project(name: $project) { run(name: $name) { colour } } }", {}, "colour"),
        ("{ project(name: $project) { run(name: $name) { id } } }", {"name": 1}, "name"),
        ("{ project(name: $project) { run(name: $name) { id } } }", {"name": None}, "name"),
        ("{ project(name: $other) { run(name: $name) { id } } }", {}, "project|other"),
        ("{ project(name: $project) { run(name: $name { id } }", {}, "Syntax"),
    ],
)
def test_a_query_that_no_server_understands_is_refused(
    server: WandbServer, query: str, variables: Any, message: str
) -> None:
    server.backend.memory.run("ops", "p", "r1")

    answer = ask(server, RUN + query, **{"project": "p", "name": "r1", **variables})

    assert re.search(message, answer["errors"][0]["message"])


def test_only_what_was_asked_for_is_answered_and_numbers_are_those_of_json(
    server: WandbServer,
) -> None:
    run = server.backend.memory.run("ops", "p", "r1")
    run.summary = {"loss": float("nan"), "best": float("-inf")}
    query = RUN + "{ project(name: $project) { run(name: $name) { id sum: summaryMetrics } } }"

    answer = ask(server, query, project="p", name="r1")

    served = answer["data"]["project"]["run"]
    assert served == {"id": run.node_id, "sum": '{"loss": "NaN", "best": "-Infinity"}'}


def test_a_stream_to_a_run_that_is_not_there_is_refused(server: WandbServer) -> None:
    with pytest.raises(HTTPError, match="404"):
        post(server, "/files/ops/p/none/file_stream", {})

    assert server.runs == []


def test_a_page_of_history_that_is_too_small_leaves_rows_out(server: WandbServer) -> None:
    lines = [json.dumps({"_step": 2 * step}) for step in range(100)]
    server.backend.memory.run("ops", "p", "r1").lines.write(lines, 0)
    query = (
        "query HistoryPage($project: String!, $run: String!, $minStep: Int64!, $maxStep: Int64!, "
        "$pageSize: Int!) { project(name: $project) { run(name: $run) { history(minStep: $minStep, "
        "maxStep: $maxStep, samples: $pageSize) } } }"
    )

    def steps(low: int, high: int, size: int) -> list[int]:
        where = {"project": "p", "run": "r1", "minStep": low, "maxStep": high, "pageSize": size}
        rows = ask(server, query, **where)["data"]["project"]["run"]["history"]
        return [json.loads(row)["_step"] for row in rows]

    assert steps(10, 17, 100) == [10, 12, 14, 16]
    assert len(steps(0, 1000, 10)) == 10


@pytest.mark.parametrize("status", [401, 403, 404, 409, 429, 500, 503])
def test_a_status_is_given_to_matching_requests_only(server: WandbServer, status: int) -> None:
    server.fault = Fault(status=status, on=f"POST .*{FILE_STREAM}")
    with pytest.raises(HTTPError, match=str(status)):
        post(server, "/files/ops/p/r1/file_stream", {})
    assert post(server, "/graphql", {"query": "query Viewer { viewer { id } }"}) == 200


def test_a_fault_lets_some_requests_through_and_hits_a_number_of_them(
    server: WandbServer,
) -> None:
    server.fault = Fault(on=FILE_STREAM, after=1, times=2)
    assert [stream_status(server) for _ in range(5)] == [200, 503, 503, 200, 200]


def test_a_fault_ends_by_itself(server: WandbServer) -> None:
    server.fault = Fault(lasting_s=3600)
    assert stream_status(server) == 503
    server.fault._began -= 3601
    assert stream_status(server) == 200


@pytest.mark.parametrize("kind", ["reset", "refuse"])
def test_connections_break_and_come_back(server: WandbServer, kind: Any) -> None:
    server.fault = Fault(kind)
    with pytest.raises((URLError, ConnectionError)):
        stream_status(server)
    server.fault = None
    assert stream_status(server) == 200


def test_a_hanging_request_gets_no_answer_until_the_fault_ends(server: WandbServer) -> None:
    server.fault = Fault("hang")
    with pytest.raises(TimeoutError):
        post(server, "/files/ops/p/r1/file_stream", {}, timeout=0.3)
    server.fault = None
    assert stream_status(server) == 200


def test_a_delay_is_an_answer_that_comes_late(server: WandbServer) -> None:
    server.fault = Fault("delay", delay_s=0.5)
    with pytest.raises(TimeoutError):
        post(server, "/files/ops/p/r1/file_stream", {}, timeout=0.2)
    assert stream_status(server) == 200


def test_storage_can_fail_alone(server: WandbServer) -> None:
    server.fault = Fault(on=STORAGE)
    assert stream_status(server) == 200
    with pytest.raises(HTTPError, match="503"):
        urlopen(Request(f"{server.url}/storage/run/p/r1/x", data=b"", method="PUT"))


def test_a_server_that_dies_keeps_what_it_had_and_takes_the_rest_when_it_is_back(
    server: WandbServer, tmp_path: Path
) -> None:
    run = start_run(server, tmp_path, id="r1")
    run.log({"x": 0})
    wait_until(lambda: server.run("p", "r1").column("x") == [0])
    server.stop()
    run.log({"x": 1})
    server.start()
    run.finish()

    assert server.run("p", "r1").column("x") == [0, 1]
    assert server.run("p", "r1").state == "finished"


def test_a_wrong_key_is_refused(tmp_path: Path) -> None:
    with WandbServer(keys=["another"]) as server, pytest.raises(wandb.errors.CommError):
        start_run(server, tmp_path)
    assert server.runs == []


def test_it_runs_in_a_process_of_its_own_with_a_control_endpoint(tmp_path: Path) -> None:
    env = clean_environment(home=tmp_path)
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-m", "support.wandb_server", "--port", "0"],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        url = process.stdout.readline().split("WANDB_BASE_URL=")[1].split()[0]
        control(url, "fault", {"status": 503, "on": ALERT})
        with pytest.raises(HTTPError, match="503"):
            alert(url)
        control(url, "fault", None)
        alert(url)
        (seen,) = control(url, "state")["alerts"]
        assert seen["title"] == "Drift"
    finally:
        process.kill()
        process.wait()


def ask(server: WandbServer, query: str, **variables: Any) -> Any:
    body = {"query": query, "variables": variables}
    request = Request(f"{server.url}/graphql", data=json.dumps(body).encode())
    with urlopen(request, timeout=10) as answer:
        return json.load(answer)


def post(server: WandbServer, path: str, body: Any, timeout: float = 10) -> int:
    request = Request(server.url + path, data=json.dumps(body).encode())
    with urlopen(request, timeout=timeout) as answer:
        return int(answer.status)


def stream_status(server: WandbServer) -> int:
    server.backend.memory.run("ops", "p", "r1")  # one that does not exist takes no stream
    try:
        return post(server, "/files/ops/p/r1/file_stream", {})
    except HTTPError as error:
        return error.code


def control(url: str, what: str, body: Any = ...) -> Any:
    data = None if body is ... else json.dumps(body).encode()
    with urlopen(Request(f"{url}/control/{what}", data=data), timeout=10) as answer:
        return json.load(answer)


def alert(url: str) -> None:
    variables = {"projectName": "p", "runName": "r", "title": "Drift", "text": "psi 0.4"}
    query = (
        f"mutation {ALERT}($projectName: String!, $runName: String!, $title: String!, "
        "$text: String!) { notifyScriptableRunAlert(input: {projectName: $projectName, "
        "runName: $runName, title: $title, text: $text}) { success } }"
    )
    data = json.dumps({"query": query, "variables": variables}).encode()
    urlopen(Request(f"{url}/graphql", data=data), timeout=10).close()
