"""Whatever stands in wandb's variables, the run is kept, and it is the run that was asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.sync_store import sync_store
from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.run.lifecycle import open_run
from flytekitplugins.wbmon.run.settings import RunSettings
from support.child import result_of, run_python
from support.wandb_log import find_run, read_run
from support.wandb_server import KEY, WandbServer

# every variable that this release reads as a setting holds one odd value, all at once
_ODD = [
    "", "maybe", "true", "0", "-1", "99999999999999999999", '{"a": 1}', "/nonexistent/x",
    "half \udcff", "must",
]  # fmt: skip
_WITH_EVERY_VARIABLE = """
import json, logging, os, sys, wandb
from pathlib import Path
from flytekitplugins.wbmon import current_run, wandb_init
from flytekitplugins.wbmon.delivery.runs.transaction_log import has_ended, log_path

logging.disable(logging.CRITICAL)
names = {"WANDB_NAME", "WANDB_NOTES", "WANDB_TAGS", "WANDB_JOB_TYPE", "WANDB_HTTP_TIMEOUT",
         "WANDB_FILE_PUSHER_TIMEOUT", "WANDB_USER_EMAIL", "WANDB_APP_URL", "WANDB_CONFIG",
         "WANDB_SERVICE_TRANSPORT", "WANDB_SERVICE", "WANDB_DEBUG", "WANDB_START_METHOD"}
for field in wandb.Settings.model_fields:
    names.add("WANDB_" + field.upper())
    if field.startswith("x_"):
        names.add("WANDB_" + field[1:].upper())
# where a run goes is checked instead
names -= {"WANDB_PROJECT", "WANDB_ENTITY", "WANDB_BASE_URL", "WANDB_DIR"}

def night(value, number):
    os.environ.update(dict.fromkeys(names, value))

    @wandb_init(project="p", entity="ops", id=f"night-{number}", mode="offline",
                offline_store=os.environ["STORE"])
    def body():
        run = current_run()
        run.log({"auc": 0.5})
        return [run.id, run.project, run.entity]

    found = body()
    for name in names:
        os.environ.pop(name, None)
    # the environment is read once only
    wandb.teardown()
    return found

odd = json.loads(os.environ["ODD"])
print(json.dumps([night(value, number) for number, value in enumerate(odd)]))
"""


def test_no_value_of_any_variable_costs_the_run_or_makes_it_another(tmp_path: Path) -> None:
    store = tmp_path / "store"
    found = result_of(
        _WITH_EVERY_VARIABLE,
        home=tmp_path,
        env={"STORE": str(store), "ODD": json.dumps(_ODD), "WANDB_MODE": "offline"},
    )
    assert found == [[f"night-{number}", "p", "ops"] for number in range(len(_ODD))]
    assert len(list(store.iterdir())) == len(_ODD)
    for log in store.rglob("*.wandb"):
        logged = read_run(log.parent)
        assert (logged.column("auc"), logged.exit_code) == ([0.5], 0), log


def test_the_variables_are_left_as_they_were_and_those_left_out_are_named(tmp_path: Path) -> None:
    done = run_python(
        """
        import os
        from flytekitplugins.wbmon.run.lifecycle import open_run
        from flytekitplugins.wbmon.run.settings import RunSettings

        for _ in range(2):
            with open_run(RunSettings(project="p", entity="ops", init={"mode": "offline"})) as run:
                run.log({"auc": 0.5})
        print(*(os.environ[name] for name in ("WANDB_RUN_ID", "WANDB_SILENT", "WANDB_X_LABEL")))
        """,
        home=tmp_path,
        env={
            "WANDB_RUN_ID": "every-pod",
            "WANDB_SILENT": "sekret",
            "WANDB_X_LABEL": "one",
            "WANDB_DEBUG": "true",
            "WANDB_CORE_DEBUG": "true",
            "WANDB_API_KEY": f"{KEY}\n",
        },
    )
    assert done.stdout.split() == ["every-pod", "sekret", "one"], done.stderr
    assert (
        done.stderr.count("WANDB_RUN_ID is left out: it does not apply to runs of wandb_init") == 1
    )
    assert done.stderr.count("WANDB_SILENT is left out: wandb refuses its value") == 1
    assert done.stderr.count("DEBUG is left out: with it wandb writes the W&B key") == 2
    assert "sekret" not in done.stderr
    # it is used without its line break
    assert "WANDB_API_KEY" not in done.stderr
    assert [path for path in tmp_path.rglob("*.log") if KEY in path.read_text()] == []


def test_the_process_that_delivers_is_not_harmed_either(tmp_path: Path) -> None:
    with WandbServer() as server:
        done = run_python(
            """
            import os
            from flytekitplugins.wbmon import current_run, wandb_init

            @wandb_init(project="p", entity="ops", id="night", secret=lambda: os.environ["KEY"],
                        delivery_timeout_s=30)
            def night():
                current_run().log({"auc": 0.5})

            night()
            """,
            home=tmp_path,
            env={
                "KEY": KEY,
                "WANDB_BASE_URL": server.url,
                "WANDB_TAGS": f"nightly,{'f' * 65}",
                "WANDB_RUN_GROUP": "g" * 200,
                "WANDB_JOB_TYPE": "j" * 65,
                "WANDB_NAME": "n" * 129,
                "WANDB_SILENT": "maybe",
                "WANDB_HTTP_TIMEOUT": "soon",
                "WANDB_RUN_ID": "every-pod",
                "WANDB_SWEEP_ID": "none",
                "WANDB__SKIP_TRANSACTION_LOG": "true",
                "WANDB__UPDATE_FINISH_STATE": "false",
                "WANDB_IDENTITY_TOKEN_FILE": "/nowhere",
                "WANDB_INIT_TIMEOUT": "-100",
            },
        )
        assert done.returncode == 0, done.stderr
        (run,) = server.runs
    assert (run.id, run.state, [row["auc"] for row in run.history]) == ("night", "finished", [0.5])
    assert (run.tags[0], [len(tag) for tag in run.tags]) == ("nightly", [7, 64])
    assert (len(run.group), len(run.job_type), len(run.name)) == (128, 64, 128)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({1: 2, "a": 3}, {"1": 2, "a": 3}),
        ({"\udcff": 1, "ok": 1}, {"ok": 1}),
        ({(1, 2): 3}, {"(1, 2)": 3}),
        (7, {}),
    ],
)
def test_a_config_that_wandb_refuses_costs_at_most_its_entry(
    folder: Path, config: Any, expected: dict[str, Any]
) -> None:
    settings = RunSettings(project="p", entity="ops", init={"mode": "offline", "config": config})
    with open_run(settings) as run:
        run.log({"auc": 0.5})
    logged = find_run(folder)
    kept = {name: each for name, each in logged.config.items() if name not in ("flyte", "_wandb")}
    assert (kept, logged.column("auc")) == (expected, [0.5])


@pytest.mark.parametrize("argument", [{"resume": "maybe"}, {"settings": {"no_such": 1}}])
def test_an_argument_that_wandb_refuses_is_left_out_and_named(
    folder: Path, argument: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    init = {"mode": "offline", "config": {"a": 1}, "tags": ["nightly"], **argument}
    with open_run(RunSettings(project="p", entity="ops", init=init)) as run:
        run.log({"auc": 0.5})
    logged = find_run(folder)
    assert (logged.config["a"], logged.tags, logged.column("auc")) == (1, ["nightly"], [0.5])
    assert f"the run is opened without {next(iter(argument))}" in caplog.text


def test_what_is_stored_is_delivered_whatever_the_node_that_syncs_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    offline = {"init": {"mode": "offline"}, "offline_store": str(store)}
    with open_run(RunSettings(project="p", entity="ops", id="night", **offline)) as run:
        run.log({"auc": 0.5})
    harmful = {
        "SILENT": "maybe", "TAGS": "t" * 65, "RUN_ID": "other", "SWEEP_ID": "s", "MODE": "turbo",
        "IDENTITY_TOKEN_FILE": "/nowhere", "HEARTBEAT_SECONDS": "0", "SERVICE": "garbage",
    }  # fmt: skip
    for name, value in harmful.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    with WandbServer() as server:
        (synced,) = sync_store(
            OfflineStore(str(store)), api_host=server.url, key=ApiKey(KEY), timeout_s=60
        )
        (served,) = server.runs
    assert synced.reason == ""
    assert (served.id, served.tags, served.column("auc")) == ("night", [], [0.5])
