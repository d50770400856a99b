"""A planted API key and a planted password in the config appear nowhere after a run."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest

from support.child import run_python
from support.propeller import Package, Pod, Store, load_package, package, run_pod, to_literals
from support.wandb_log import find_run, find_runs
from support.wandb_server import WandbServer

PROJECT = Path(__file__).parent / "project"
KEY = "7c0ffee7" * 5
PASSWORD = "correct-horse-battery-staple"  # noqa: S105 - planted
# nobody listens there: the run is kept in the offline store
OUTAGE = "http://127.0.0.1:9"
ENV = {
    "API_HOST": OUTAGE,
    "DELIVERY_TIMEOUT_S": "2",
    "PLANTED_PASSWORD": PASSWORD,
    "FLYTE_SDK_LOGGING_LEVEL": "10",
}

LOCAL = """
import cloudpickle, pathlib, sys, traceback
import leaky
from flytekitplugins.wbmon import current_run

cloudpickle.register_pickle_by_value(leaky)
pathlib.Path("task.pickle").write_bytes(cloudpickle.dumps(leaky.train.task_function))
pathlib.Path("decorator.repr").write_text(repr(leaky.tracked))
try:
    leaky.train(fail={fail})
except Exception as error:
    pathlib.Path("error.pickle").write_bytes(cloudpickle.dumps(error))
    traceback.print_exc()
    sys.exit(3)
"""


def forms(secret: str) -> dict[str, bytes]:
    """How a secret may be written."""
    encoded = {
        "plain": secret,
        "quoted": quote(secret, safe=""),
        "base64": base64.b64encode(secret.encode()).decode().rstrip("="),
        "basic auth": base64.b64encode(f"api:{secret}".encode()).decode().rstrip("="),
        "hex": secret.encode().hex(),
    }
    return {name: text.encode() for name, text in encoded.items()}


def leaks(folder: Path, *, but_not_in: tuple[str, ...] = ()) -> list[str]:
    """Every file below the folder that holds a planted secret, with its form."""
    return [
        f"{path.relative_to(folder)}: {what} as {form}"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not set(but_not_in) & set(path.relative_to(folder).parts)
        for what, secret in (("key", KEY), ("password", PASSWORD))
        for form, text in forms(secret).items()
        if text in path.read_bytes()
    ]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("archive") / "package.tgz"
    return package(PROJECT, ["leaky"], archive=target, env=ENV)


@pytest.fixture(scope="module")
def compiled(archive: Path) -> Package:
    return load_package(archive)


def run_task(
    compiled: Package, name: str, tmp_path: Path, *, fail: bool, server: WandbServer | None = None
) -> Pod:
    healthy = {"API_HOST": server.url, "DELIVERY_TIMEOUT_S": "60"} if server else {}
    return run_pod(
        compiled.tasks[f"leaky.{name}"],
        to_literals({"fail": fail}),
        project=PROJECT,
        store=Store(root=str(tmp_path / "store")),
        disk=tmp_path,
        env=ENV | healthy,
        secrets={"wandb/api_key": KEY},
    )


def check_run(pod: Pod, *, fail: bool) -> None:
    assert pod.succeeded is not fail, pod.log
    run = find_run(pod.disk)
    assert run.exit_code == int(fail)
    assert run.column("loss") == [0.5]
    assert run.config["learning_rate"] == 0.1
    assert "db.example.com" in run.config["database"]["url"]
    assert "done" in pod.deck


def check_requests(server: WandbServer, tmp_path: Path, *, fail: bool) -> None:
    received = server.state()
    assert [run["exit_code"] for run in received["runs"]] == [int(fail)]
    for request in received["requests"]:
        assert request.pop("api_key") in (KEY, "")
    folder = tmp_path / "received"
    folder.mkdir()
    (folder / "requests.json").write_text(json.dumps(received))
    assert leaks(folder) == []


def test_nothing_leaks_from_a_pod_that_fails_in_an_outage(
    compiled: Package, tmp_path: Path
) -> None:
    pod = run_task(compiled, "train", tmp_path, fail=True)

    check_run(pod, fail=True)
    assert leaks(tmp_path, but_not_in=("secrets",)) == []


def test_wandb_gets_the_key_as_its_credential_and_nowhere_else(
    compiled: Package, tmp_path: Path
) -> None:
    with WandbServer(keys=[KEY]) as server:
        pod = run_task(compiled, "train", tmp_path, fail=False, server=server)

    check_run(pod, fail=False)
    check_requests(server, tmp_path, fail=False)
    assert leaks(tmp_path, but_not_in=("secrets",)) == []


def test_what_an_exception_says_is_redacted_in_the_run(compiled: Package, tmp_path: Path) -> None:
    with WandbServer(keys=[KEY]) as server:
        pod = run_task(compiled, "tell", tmp_path, fail=True, server=server)

    assert KEY in pod.message
    run = find_run(pod.disk)
    assert run.summary["error_type"] == "RuntimeError"
    assert "cannot log in" in run.summary["error_message"]
    check_requests(server, tmp_path, fail=True)
    assert leaks(run.path.parent) == []


@pytest.mark.parametrize("fail", [False, True])
def test_nothing_leaks_from_a_local_run(tmp_path: Path, fail: bool) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    shutil.copytree(PROJECT, project)

    done = run_python(
        LOCAL.format(fail=fail), home=home, cwd=project, env={**ENV, "WANDB_API_KEY": KEY}
    )

    (tmp_path / "log.txt").write_text(done.stdout + done.stderr)
    assert done.returncode == (3 if fail else 0), done.stderr
    assert [run.exit_code for run in find_runs(tmp_path)] == [int(fail)]
    assert (project / "task.pickle").exists()
    assert leaks(tmp_path) == []
    assert not (home / ".netrc").exists()


def test_nothing_leaks_into_the_compiled_workflow(archive: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(archive, tmp_path, "gztar")

    assert leaks(tmp_path) == []


def test_a_leak_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(f"Authorization: Basic {b64(f'api:{KEY}')}")

    assert leaks(tmp_path) == ["log.txt: key as basic auth"]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
