"""The failure node tells of a failure, whatever became of the inputs of its workflow."""

# ruff: noqa: UP007, UP045 - flytekit sees that Optional[int] is another type than int | None

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Optional, Union

import numpy as np
import pandas as pd
import pytest
from flyteidl.core.literals_pb2 import Literal
from flytekit import FlyteContext, FlyteContextManager, Secret, kwtypes, task, workflow
from flytekit.models.literals import LiteralMap as LiteralMapModel
from flytekit.tools.translator import get_serializable
from flytekit.types.directory import FlyteDirectory
from flytekit.types.error import FlyteError
from flytekit.types.file import FlyteFile
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import (
    Channel,
    Decision,
    DriftReport,
    MonitorFailure,
    PerformanceReport,
    Profile,
    wandb_init,
)
from flytekitplugins.wbmon.monitor.profiles.build import profile_data
from flytekitplugins.wbmon.tasks._node import Node
from support.examples import AT, drift_report, performance_report
from support.in_process import in_pod, pod_context
from support.literals import from_literals, to_literals
from support.package import SETTINGS
from support.pod import prepare_pod
from support.receiver import Hook
from support.store import Store
from support.wandb_log import find_run

KEY = Secret(group="wandb", key="api_key")
HOOK = Channel(secret=Secret(group="alerts", key="hook"), name="hook")
ERROR = FlyteError(message="the reference is missing", failed_node_id="n3")
FRAME = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0]})
PROFILE = profile_data(FRAME)
JOBLIB = FlyteFile["joblib"]


class Color(Enum):
    """A text that is one of a few."""

    RED = "r"


@dataclass
class Limits:
    """Plain settings of a workflow."""

    n_rows: int = 1


@dataclass
class Files:
    """Settings that name a file."""

    model: FlyteFile


def a_file() -> FlyteFile:
    path = Path(FlyteContextManager.current_context().file_access.get_random_local_path())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("model")
    return FlyteFile(str(path))


def a_folder() -> FlyteDirectory:
    path = Path(FlyteContextManager.current_context().file_access.get_random_local_directory())
    (path / "part").write_text("rows")
    return FlyteDirectory(str(path))


KINDS: dict[str, tuple[Any, Callable[[], Any]]] = {
    "int": (int, lambda: 3),
    "float": (float, lambda: 0.5),
    "str": (str, lambda: "eu"),
    "bool": (bool, lambda: False),
    "datetime": (datetime, lambda: AT),
    "date": (date, AT.date),
    "timedelta": (timedelta, lambda: timedelta(hours=1)),
    "enum": (Color, lambda: Color.RED),
    "optional int": (Optional[int], lambda: 3),
    "optional int, none": (Optional[int], lambda: None),
    "int | None": (int | None, lambda: 3),
    "optional date": (Optional[date], AT.date),
    "optional enum": (Optional[Color], lambda: Color.RED),
    "list": (list[int], lambda: [1, 2]),
    "list of none": (list[int | None], lambda: [1, None]),
    "dict": (dict[str, int], lambda: {"a": 1}),
    "untyped dict": (dict, lambda: {"a": [1, {"b": None}]}),
    "dict of lists": (dict[str, list[float]], lambda: {"a": [0.5]}),
    "dataclass": (Limits, Limits),
    "optional dataclass": (Optional[Limits], Limits),
    "dataclass of files": (Files, lambda: Files(model=a_file())),
    "file": (FlyteFile, a_file),
    "file of a format": (JOBLIB, a_file),
    "optional file": (Optional[FlyteFile], a_file),
    "optional file of a format": (Optional[JOBLIB], a_file),
    "files": (list[FlyteFile], lambda: [a_file(), a_file()]),
    "folder": (FlyteDirectory, a_folder),
    "optional folder": (Optional[FlyteDirectory], a_folder),
    "path": (Path, lambda: Path(a_file().path)),
    "table": (StructuredDataset, lambda: StructuredDataset(dataframe=FRAME)),
    "table of columns": (
        Annotated[StructuredDataset, kwtypes(x=float)],
        lambda: StructuredDataset(dataframe=FRAME),
    ),
    "frame": (pd.DataFrame, lambda: FRAME),
    "optional frame": (Optional[pd.DataFrame], lambda: FRAME),
    "array": (np.ndarray, lambda: np.arange(3)),
    "anything": (Any, lambda: {"a": object}),
    "object": (object, lambda: 3),
    "profile": (Profile, lambda: PROFILE),
    "optional profile": (Optional[Profile], lambda: PROFILE),
    "optional profile, none": (Optional[Profile], lambda: None),
    "optional baseline": (Optional[PerformanceReport], performance_report),
    "one of two reports": (Union[Profile, DriftReport], drift_report),
    "one of three": (Union[int, str, Profile], lambda: PROFILE),
    "one of three, a text": (Union[int, str, Profile], lambda: "s3://bucket/profile"),
    "profiles": (list[Profile], lambda: [PROFILE, PROFILE]),
    "profiles, some none": (list[Profile | None], lambda: [PROFILE, None]),
    "profiles by name": (dict[str, Profile], lambda: {"a": PROFILE}),
    "optional profiles": (Optional[list[Profile]], lambda: [PROFILE]),
    "frames by name": (dict[str, pd.DataFrame], lambda: {"a": FRAME}),
}


def made(text: str) -> Literal:
    """A literal as text of protobuf says it."""
    from google.protobuf.text_format import Parse

    return Parse(text, Literal())


NOWHERE = ("/nowhere/a", "file:///nowhere/a", "s3://no-bucket/a", "odd://a", "")
DAMAGED: dict[str, Literal | None] = {
    "left out": None,
    "empty": Literal(),
    "none": made("scalar { none_type {} }"),
    "text": made('scalar { primitive { string_value: "?" } }'),
    "bytes": made('scalar { binary { value: "\\301\\377" tag: "msgpack" } }'),
    "struct": made("scalar { generic { } }"),
    "offloaded": made('offloaded_metadata { uri: "/nowhere/a" }'),
    "empty union": made("scalar { union { } }"),
    "union of a type that is gone": made(
        'scalar { union { value { scalar { blob { uri: "/nowhere/a" } } } '
        'type { blob { } structure { tag: "Gone" } } } }'
    ),
    "empty list": made("collection { }"),
    "list of the lost": made('collection { literals { scalar { blob { uri: "/nowhere/a" } } } }'),
    **{f"file at {uri!r}": made(f'scalar {{ blob {{ uri: "{uri}" }} }}') for uri in NOWHERE},
    **{
        f"table at {uri!r}": made(f'scalar {{ structured_dataset {{ uri: "{uri}" }} }}')
        for uri in NOWHERE
    },
}


def failure_node(kind: Any, **settings: Any) -> MonitorFailure:
    return MonitorFailure("t.failed", inputs={"given": kind}, channels=[HOOK], **settings)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[FlyteContext]:
    with pod_context(tmp_path, task="t.failed") as context:
        yield context


def tell(context: FlyteContext, node: Node[Any], given: Literal | None) -> None:
    """Run the node in the pod of a workflow whose input is `given`; left out if None."""
    literals = to_literals({"err": ERROR}, types={"err": FlyteError | None})
    if given is not None:
        literals.literals["given"].CopyFrom(given)
    node.dispatch_execute(context, LiteralMapModel.from_flyte_idl(literals))


@task
def rows() -> int:
    return 1


def monitored(kind: Any, node: MonitorFailure) -> Any:
    def night(given: Any) -> int:
        return rows()

    night.__annotations__ = {"given": kind, "return": int}
    return workflow(on_failure=node)(night)


@task
def breaks(given: int) -> int:
    if given > 0:
        raise ValueError("the token=abcdefgh12345 is gone")
    return given


def test_a_monitor_that_fails_is_reported_by_its_failure_node(hook: Hook) -> None:
    @workflow(on_failure=failure_node(int))
    def night(given: int) -> int:
        return breaks(given=given)

    with pytest.raises(ValueError, match="is gone"):
        night(given=3)
    assert hook.titles == ["monitor failed"]


def test_the_failure_node_in_a_pod_tells_what_failed_without_secrets(
    hook: Hook, context: FlyteContext
) -> None:
    node = in_pod(failure_node(int, owner="payments team"))
    error = FlyteError(message="ValueError: token=abcdefgh12345 is wrong", failed_node_id="n3")
    inputs = to_literals({"given": 5, "err": error}, types={"err": FlyteError | None})
    done = node.dispatch_execute(context, LiteralMapModel.from_flyte_idl(inputs))
    assert from_literals(done.to_flyte_idl(), {"severity": str}) == {"severity": "error"}
    (message,) = hook.received
    assert message["title"] == "monitor failed"
    assert "node n3: ValueError: token=[SECRET] is wrong" in message["message"]
    assert "payments team" in message["message"]


def test_a_failure_is_told_also_if_the_time_of_its_window_is_none(
    hook: Hook, context: FlyteContext
) -> None:
    node = in_pod(failure_node(str, at="given"))
    inputs = LiteralMapModel.from_flyte_idl(to_literals({"given": "last Tuesday"}))
    done = node.dispatch_execute(context, inputs)
    decision = from_literals(done.to_flyte_idl(), {"decision": Decision})["decision"]
    assert hook.titles == ["monitor failed"]
    assert "at must be a moment" in decision.findings[0]


@pytest.mark.parametrize("name", KINDS)
def test_a_failure_is_told_whatever_the_workflow_was_given_and_what_became_of_it(
    name: str, hook: Hook, context: FlyteContext, tmp_path: Path
) -> None:
    kind, make = KINDS[name]
    node = failure_node(kind)
    given = to_literals({"given": make()}, types={"given": kind}).literals["given"]
    stored = Path(context.file_access.raw_output_prefix)
    tell(context, in_pod(node), given)
    for path in stored.rglob("*"):
        if path.is_file():
            path.write_bytes(b"\x00damaged")
    tell(context, in_pod(node), given)
    shutil.rmtree(stored, ignore_errors=True)
    tell(context, in_pod(node), given)
    # one that a pod finds as a variable of a module knows the types of its inputs
    tell(context, node, given)
    told = ["node n3: the reference is missing" in each["message"] for each in hook.received]
    assert told == [True] * 4


@pytest.mark.parametrize("name", KINDS)
def test_flyte_gets_a_failure_node_with_the_inputs_of_its_workflow(name: str) -> None:
    kind, _ = KINDS[name]
    node = failure_node(kind)
    compiled = get_serializable({}, SETTINGS, monitored(kind, node))
    own = compiled.template.interface.inputs["given"].type
    assert node.interface.inputs["given"].type == own
    bound = compiled.template.failure_node.inputs
    assert {each.var for each in bound} == {"given", "err"}
    assert set(in_pod(node).interface.inputs) == {"given", "err"}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_failure_is_told_if_an_input_is_no_value_of_its_type(
    name: str, hook: Hook, context: FlyteContext
) -> None:
    node = failure_node(Optional[Profile])
    tell(context, node, DAMAGED[name])
    tell(context, in_pod(node), DAMAGED[name])
    assert hook.titles == ["monitor failed"] * 2


@pytest.mark.parametrize(
    ("err", "told"),
    [
        (None, "Flyte did not say why"),
        (DAMAGED["none"], "Flyte did not say why"),
        (DAMAGED["text"], "Flyte did not say why"),
        (DAMAGED["empty union"], "Flyte did not say why"),
        (made('scalar { error { message: "gone" failed_node_id: "n1" } }'), "node n1: gone"),
        (
            made(
                'scalar { union { value { scalar { error { message: "gone" failed_node_id: "n1" } '
                '} } type { simple: ERROR structure { tag: "other" } } } }'
            ),
            "node n1: gone",
        ),
    ],
)
def test_the_error_may_come_in_any_form(
    err: Literal | None, told: str, hook: Hook, context: FlyteContext
) -> None:
    literals = to_literals({"given": 3})
    if err is not None:
        literals.literals["err"].CopyFrom(err)
    in_pod(failure_node(int)).dispatch_execute(context, LiteralMapModel.from_flyte_idl(literals))
    (message,) = hook.received
    assert told in message["message"]


@pytest.mark.parametrize(
    ("kind", "given", "at"),
    [
        (datetime, AT, AT),
        (Optional[datetime], AT, AT),
        (date, AT.date(), AT.replace(hour=0, minute=0, second=0, microsecond=0)),
        (str, AT.isoformat(), AT),
        (Union[int, str, datetime], AT, AT),
    ],
)
def test_the_time_of_the_window_is_read_from_an_input_of_any_type_that_can_hold_it(
    kind: Any, given: Any, at: datetime, hook: Hook, context: FlyteContext
) -> None:
    node = in_pod(failure_node(kind, at="given"))
    inputs = to_literals({"given": given}, types={"given": kind})
    done = node.dispatch_execute(context, LiteralMapModel.from_flyte_idl(inputs))
    decision = from_literals(done.to_flyte_idl(), {"decision": Decision})["decision"]
    assert decision.at == at
    assert hook.titles == ["monitor failed"]


@pytest.mark.parametrize(
    ("kind", "given", "template", "id_"),
    [
        (str, "eu", "night-{inputs.given}", "night-eu"),
        (Color, Color.RED, "night-{inputs.given}", "night-r"),
        (datetime, AT, "night-{date:%Y-%m}", f"night-{AT:%Y-%m}"),
        (Any, "eu", "night-{inputs.given}", "night-None"),
    ],
)
def test_a_tracked_failure_node_has_a_run_of_the_id_that_it_asks_for(
    kind: Any,
    given: Any,
    template: str,
    id_: str,
    hook: Hook,
    context: FlyteContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "runs"))
    tracked = wandb_init(project="p", entity="e", secret=KEY, mode="offline", id=template)
    literals = to_literals({"given": given}, types={"given": kind})
    shutil.rmtree(context.file_access.raw_output_prefix, ignore_errors=True)
    tell(context, in_pod(tracked(failure_node(kind))), literals.literals["given"])
    assert hook.titles == ["monitor failed"]
    assert find_run(tmp_path / "runs").id == id_


def test_a_compiled_failure_node_tells_that_a_reference_on_a_volume_is_gone(
    hook: Hook, local_store: Store, tmp_path: Path
) -> None:
    compiled: dict[Any, Any] = {}
    get_serializable(
        compiled, SETTINGS, monitored(Optional[Profile], failure_node(Optional[Profile]))
    )
    (spec,) = [each.to_flyte_idl() for key, each in compiled.items() if key.name == "t.failed"]
    literals = to_literals(
        {"given": PROFILE, "err": ERROR},
        types={"given": Optional[Profile], "err": FlyteError | None},
    )
    literals.literals["given"].scalar.union.value.scalar.blob.uri = "file:///mnt/gone"
    (tmp_path / "code").mkdir()
    pod = prepare_pod(
        spec,
        literals,
        project=tmp_path / "code",
        store=local_store,
        disk=tmp_path / "pods",
        secrets={"alerts/hook": hook.url},
    ).run_here()
    assert pod.outputs is not None, pod.message
    assert from_literals(pod.outputs, {"severity": str}) == {"severity": "error"}
    assert hook.titles == ["monitor failed"]


@task
def size(given: FlyteFile) -> int:
    return len(Path(given).read_bytes())


def test_outside_a_pod_a_missing_file_is_what_the_workflow_raises_and_is_told(hook: Hook) -> None:
    @workflow(on_failure=failure_node(FlyteFile))
    def night(given: FlyteFile) -> int:
        return size(given=given)

    with pytest.raises(Exception, match="/nowhere/model") as raised:
        night(given=FlyteFile("/nowhere/model"))
    assert "t.failed" not in str(raised.value)
    assert hook.titles == ["monitor failed"]


def test_a_node_that_an_earlier_release_registered_is_rebuilt() -> None:
    node = failure_node(Optional[Profile])
    arguments = node.task_resolver.loader_args(SETTINGS, node)
    place = arguments.index("config") + 1
    settings = json.loads(arguments[place])
    # the types of the inputs, by name
    arguments[place] = json.dumps({**settings, "inputs": {"given": '{"simple": "INTEGER"}'}})
    assert set(node.task_resolver.load_task(arguments).interface.inputs) == {"given", "err"}
