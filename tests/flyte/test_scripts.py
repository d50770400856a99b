"""Tasks of a script that runs as `__main__` and registers them: the pod finds each of them.

The script compiles its tasks in a process of its own, as `FlyteRemote.register` does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from flyteidl.admin.task_pb2 import TaskSpec
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.tasks.scoring import ScoringReport
from support.environment import clean_environment
from support.place import Place
from support.pod import Pod, prepare_pod
from support.propeller import from_literals, to_literals
from support.store import Store

SCRIPT = Path(__file__).parent / "project" / "script.py"
TESTS = Path(__file__).parents[1]
ADDS_ONE = (
    "below", "above", "both", "stacked", "around_a_wrapper", "inside_a_wrapper",
    "around_another_file", "later", "increase", "tracked",
)  # fmt: skip
# where the script is, how it is run, the folder that flytekit takes for the root, its module there
PLACES = {
    "in the root": ("night.py", ["night.py"], ".", "night"),
    "in a package": ("pkg/inner/night.py", ["-m", "pkg.inner.night"], ".", "pkg.inner.night"),
    "in a subfolder": ("jobs/night.py", ["jobs/night.py"], "jobs", "night"),
}


class Compiled:
    """What a script compiled."""

    def __init__(self, folder: Path, place: str) -> None:
        file, command, root, self.module = PLACES[place]
        self.root, self._disk = folder / "code" / root, folder / "disk"
        script = folder / "code" / file
        script.parent.mkdir(parents=True)
        shutil.copy(SCRIPT, script)
        if "pkg" in file:
            (script.parent / "__init__.py").touch()
            (script.parents[1] / "__init__.py").touch()
        written = folder / "compiled"
        written.mkdir()
        subprocess.run(
            [sys.executable, *command, str(written)],
            cwd=folder / "code",
            env={**clean_environment(home=folder / "home"), "PYTHONPATH": str(TESTS)},
            check=True,
            capture_output=True,
        )
        specs = [TaskSpec.FromString(file.read_bytes()) for file in sorted(written.iterdir())]
        self.specs = {spec.template.id.name.rpartition(".")[2]: spec for spec in specs}

    def run(self, task: str, shard: int | None = None, **inputs: object) -> Pod:
        """Run one of the tasks in a pod that has the code of the root."""
        return prepare_pod(
            self.specs[task],
            to_literals(inputs),
            project=self.root,
            store=Store(str(self._disk / "store")),
            disk=self._disk / task,
            place=Place(shard=shard),
        ).run_here()


@pytest.fixture(scope="module", params=PLACES)
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return Compiled(tmp_path_factory.mktemp("script"), request.param)


def test_every_task_is_registered_under_the_script_and_its_own_name(compiled: Compiled) -> None:
    found = {}
    for name, spec in compiled.specs.items():
        arguments = list(spec.template.container.args)
        if "task-module" in arguments:
            place = arguments.index("task-module")
            found[name] = arguments[place + 1], arguments[place + 3]
            assert spec.template.id.name.endswith(compiled.module + "." + name)

    mapped = {name for name in found if name.startswith("map_")}
    assert len(mapped) == 2
    assert found["score_tracked"] == (compiled.module, "score_tracked")
    assert found["at_once_below"] == (compiled.module, "at_once_below")
    assert {name: found[name] for name in found.keys() - mapped} == {
        name: (compiled.module, name) for name in found.keys() - mapped
    }
    assert len(found) == len(compiled.specs) - 3
    assert {found[name] for name in mapped} == {(compiled.module, n) for n in ("below", "above")}


def test_a_pod_finds_and_runs_each(compiled: Compiled) -> None:
    outputs = {name: compiled.run(name, x=4).outputs for name in ADDS_ONE}
    assert {name: from_literals(found, {"o0": int})["o0"] for name, found in outputs.items()} == (
        dict.fromkeys(ADDS_ONE, 5)
    )
    for name in ("spread", "spread_above"):
        assert compiled.run(name, x=4).futures is not None


def test_a_pod_scores_with_the_function_of_a_script(compiled: Compiled) -> None:
    data = StructuredDataset(dataframe=pd.DataFrame({"x": [1, 2, 3]}))
    for name in ("score", "score_tracked"):
        pod = compiled.run(name, data=data)
        outputs = from_literals(
            pod.outputs, {"predictions": StructuredDataset, "report": ScoringReport}
        )
        assert list(outputs["predictions"].open(pd.DataFrame).all()["doubled"]) == [2, 4, 6]


def test_a_node_calls_back_a_function_of_the_script(compiled: Compiled) -> None:
    arguments = list(compiled.specs["importance"].template.container.args)
    assert f'"{compiled.module}:predict"' in arguments[arguments.index("config") + 1]


def test_a_script_is_not_run_again_for_a_function_that_a_node_calls(tmp_path: Path) -> None:
    script = tmp_path / "once.py"
    script.write_text(
        "from flytekitplugins.wbmon.flyte.function_reference import *\n"
        "print('runs')\n"
        "def judge(): ...\n"
        "print(reference_of(judge), load_reference(reference_of(judge)) is judge)\n"
    )
    assert run(script) == "runs\nonce:judge True\n"


def test_a_traceback_shows_the_decorator_of_the_script_and_the_line_that_raised(
    tmp_path: Path,
) -> None:
    script = tmp_path / "failing.py"
    script.write_text(
        "from flytekitplugins.wbmon import wandb_init\n"
        "import traceback\n\n"
        "@wandb_init(project='p', mode='disabled')\n"
        "def failing(x: int) -> int:\n"
        "    return x // 0\n\n"
        "try:\n"
        "    failing(1)\n"
        "except ZeroDivisionError:\n"
        "    print(traceback.format_exc())\n"
    )
    shown = re.findall(r'failing.py", line (\d+), in (\S+)\n    (.*)', run(script))
    assert shown == [
        ("9", "<module>", "failing(1)"),
        ("4", "failing", "@wandb_init(project='p', mode='disabled')"),
        ("6", "failing", "return x // 0"),
    ]


def test_what_no_pod_could_find_is_refused_as_in_a_module(tmp_path: Path) -> None:
    script = tmp_path / "nested.py"
    script.write_text(
        "from flytekit import task\n"
        "from flytekitplugins.wbmon import wandb_init\n"
        "def make():\n"
        "    @task\n"
        "    @wandb_init(project='p', mode='disabled')\n"
        "    def inner(x: int) -> int:\n"
        "        return x\n"
        "try:\n"
        "    make()\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    assert run(script).startswith("TaskFunction cannot be a nested/inner or local function")


def test_a_function_without_a_file_is_refused_by_nodes() -> None:
    code = (
        "from flytekitplugins.wbmon.flyte.function_reference import reference_of\n"
        "def judge(): ...\n"
        "try: reference_of(judge)\n"
        "except ValueError as error: print(error)\n"
    )
    assert "a function at module level" in run("-c", code)


def run(*arguments: str | Path) -> str:
    """What a Python process prints."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=dict(os.environ),
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout
