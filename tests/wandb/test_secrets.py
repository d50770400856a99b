"""No secret that is planted anywhere in a run's arguments or body arrives anywhere."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from support.child import run_python
from support.environment import ROOT, SOURCE
from support.wandb_log import find_run
from support.wandb_server import KEY, WandbServer

pytestmark = pytest.mark.slow

N = 300
MARK = "cnry"
SCRIPT = """
import logging, os, pathlib, sys
import cloudpickle
from support.planted_secrets import plant
from flytekitplugins.wbmon import current_run, wandb_init
import wandb

logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
planted = plant({n})
texts = [each for each in planted if isinstance(each.value, str)]
defaults = "wandb_version: 1\\ndb_pw: {{value: cnry-default}}\\n"
pathlib.Path("config-defaults.yaml").write_text(defaults)
given, later = planted[::2], planted[1::2]
tracked = wandb_init(
    project="p",
    entity="ops",
    id="x",
    api_host={url!r},
    offline_store=str(pathlib.Path("store").resolve()),
    delivery_timeout_s={timeout_s},
    config={{"in_place": {{}}, **{{f"given {{i}}": each.value for i, each in enumerate(given)}}}},
    name=texts[0].value,
    notes=" and ".join(each.value for each in texts[1:20]),
    tags=[each.value[:64] for each in texts if len(each.value) < 64][:5] + ["cnry-in-env-0123"],
)
pathlib.Path("out").mkdir()
pathlib.Path("out/decorator.pickle").write_bytes(cloudpickle.dumps(tracked))
print(tracked, tracked.settings, repr(tracked.settings))

@tracked
def train():
    run = current_run()
    for i, each in enumerate(later):
        entry = {{f"later {{i}}": each.value}}
        (run.config.update, run.config.setdefaults)[i % 2](entry)
    run.config["client_secret"] = "cnry-in-body"
    run.config["by_url"] = {{"postgres://bob:cnry-in-name@db": 1}}
    run.config.update({{"postgres://bob:cnry-as-name@db": 1}})
    run.config["in_place"]["password"] = "cnry-in-place"
    run.notes = "sent with the config"
    run.config.persist()
    run.config.update_locked({{"locked": {{"password": "cnry-locked"}}}}, user="a")
    run.alert("no login", text="password=cnry-in-alert")
    wandb.config["elsewhere"] = os.environ["THE_DB_PW"]
    run.log({{"loss": 0.5}})
    try:
        raise ValueError("no login with password=cnry-in-cause")
    except ValueError as error:
        raise RuntimeError(" and ".join(each.value for each in texts[20:])) from error

try:
    train()
except RuntimeError:
    pass
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home


def run_planted(home: Path, url: str, *, timeout_s: float) -> str:
    script = SCRIPT.format(n=N, url=url, timeout_s=timeout_s)
    env = {
        "PYTHONPATH": f"{SOURCE}:{ROOT / 'tests'}",
        "WANDB_API_KEY": KEY,
        "THE_DB_PW": "cnry-in-env-0123",
    }
    done = run_python(script, home=home, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    (home / "config-defaults.yaml").unlink()
    (home / "log.txt").write_text(done.stdout + done.stderr)
    return done.stdout


def leaks(folder: Path) -> list[str]:
    """Each file below the folder that holds a planted secret, and the text around the first."""
    found = []
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        at = max(content.find(MARK.encode()), content.find(KEY.encode()))
        if at >= 0:
            found.append(f"{path.relative_to(folder)}: {content[max(0, at - 60) : at + 40]!r}")
    return found


def test_no_planted_secret_arrives_at_the_server_or_stays_on_disk(home: Path) -> None:
    with WandbServer() as server:
        run_planted(home, server.url, timeout_s=60)
        received, run = server.state(), server.run("p", "x")
    for request in received["requests"]:
        request.pop("api_key")
    (home / "received.json").write_text(json.dumps(received))

    assert run.exit_code == 1
    assert len(run.config) > N
    assert run.config["db_pw"] == "[SECRET]"
    assert "[SECRET]" in run.summary["error_message"]
    assert not leaks(home), "\n".join(leaks(home))


def test_no_planted_secret_is_in_the_offline_store(home: Path) -> None:
    run_planted(home, "http://127.0.0.1:9", timeout_s=1)

    assert len(find_run(home / "wandb").config) > N
    assert list((home / "store").rglob("manifest.json"))
    assert not leaks(home), "\n".join(leaks(home))
    (folder,) = (home / "wandb").glob("offline-run-*")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not (home / ".netrc").exists()


def test_a_leak_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("password: cnry0001Zq9")
    assert leaks(tmp_path) == ["log.txt: b'password: cnry0001Zq9'"]
