"""A reference whose alias is moved in W&B: what the node loads, and while W&B is away."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from flytekit import Secret

import wandb
from flytekitplugins.wbmon import (
    LoadReference,
    PerformanceReport,
    Profile,
    PromoteReference,
    ReferenceFiles,
    profile_data,
    wandb_init,
)
from flytekitplugins.wbmon.delivery.artifacts import fetch, fetch_process
from flytekitplugins.wbmon.delivery.artifacts.fetch import AwayError, fetch_record
from flytekitplugins.wbmon.delivery.artifacts.fetch_process import ANSWER, FILES
from flytekitplugins.wbmon.delivery.artifacts.name import alias_of
from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.api import ServerRefusedError
from flytekitplugins.wbmon.errors import DataError, PublishError
from support import wandb_backend
from support.examples import performance_report
from support.in_process import execute, pod_context
from support.place import EXECUTION
from support.waiting import wait_until
from support.wandb_faults import STORAGE, Fault
from support.wandb_records import RefusedError
from support.wandb_server import KEY, WandbServer

pytestmark = pytest.mark.slow
ARTIFACT = "ops/payments/payments-profile:production"
SECRET = Secret(group="wandb", key="api_key")
MOUNTED = {"_FSEC_WANDB_API_KEY": KEY}


def profile(n: int) -> Profile:
    return profile_data(pd.DataFrame({"x": list(map(float, range(n)))}))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbServer]:
    """A server to which a run logged artifacts of every kind."""
    folder = tmp_path_factory.mktemp("logged")
    profile(1).save(folder / "one.wbmon-profile")
    profile(2).save(folder / "two.wbmon-profile")
    performance_report().save(folder / "baseline")
    logged = (
        ("payments-profile", ("one.wbmon-profile",)),
        ("moved", ("one.wbmon-profile",)),
        ("moved", ("two.wbmon-profile",)),
        ("both", ("one.wbmon-profile", "two.wbmon-profile")),
        ("other", ("baseline",)),
    )
    with WandbServer(keys=[KEY]) as running:
        settings = wandb.Settings(base_url=running.url, api_key=KEY, silent=True, console="off")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WANDB_DATA_DIR", str(folder / "data"))
            patch.setenv("WANDB_API_KEY", KEY)
            with wandb.init(project="payments", entity="ops", dir=folder, settings=settings) as run:
                for name, files in logged:
                    artifact = wandb.Artifact(name, type="reference")
                    for file in files:
                        artifact.add_file(str(folder / file))
                    run.log_artifact(artifact, aliases=["production"])
        yield running
        assert running.unknown == []


@pytest.fixture(autouse=True)
def healthy(server: WandbServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    yield
    server.fault = None


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process that downloads does is done in this one, which has loaded wandb."""

    def run(_: str, *arguments: str, variables: Mapping[str, str], key: ApiKey, until: Any) -> int:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            fetch_process.main(*arguments, key=key.reveal())
        return 0

    monkeypatch.setattr(fetch, "run_child", run)


def loading(uri: Path | str, **changes: Any) -> Any:
    return LoadReference(
        "t.load",
        **{
            "uri": str(uri), "model": "payments", "record": Profile, "wandb_artifact": ARTIFACT,
            "timeout_s": 60, **changes,
        },
    )  # fmt: skip


def fetching(server: WandbServer, name: str, **changes: Any) -> Profile:
    given = {"api_host": server.url, "key": ApiKey(KEY), "timeout_s": 60.0, **changes}
    return fetch_record(Profile, f"ops/payments/{name}", **given).record


def last_known(server: WandbServer, uri: Path, record: Profile) -> ReferenceFiles[Profile]:
    """A folder into which the artifact was loaded before."""
    files = ReferenceFiles(str(uri), Profile)
    digest = files.save("payments", record).digest
    files.promote("payments", digest, alias=alias_of(ARTIFACT, server.url), reason="it was v0")
    return files


def in_pod(tmp_path: Path, load: Any) -> tuple[int, str]:
    """How many rows the reference has, and what is on the Deck."""
    with pod_context(tmp_path, task="t.load", env=MOUNTED) as context:
        record = execute(context, load)["o0"]
        decks = context.user_space_params.decks
        return record.n_rows, next(one.html for one in decks if one.name == "W&B run")


def test_what_a_tracked_promotion_logged_is_loaded_by_its_alias(tmp_path: Path) -> None:
    with WandbServer(keys=[KEY]) as server:
        tracked = wandb_init(
            project="payments", entity="ops", secret=SECRET, api_host=server.url,
            delivery_timeout_s=30,
        )  # fmt: skip
        promote = tracked(
            PromoteReference(
                "t.promote", uri=f"file://{tmp_path}/released", model="payments", record=Profile,
                reason="retrained",
            )
        )  # fmt: skip
        with pod_context(tmp_path, task="t.promote", env=MOUNTED) as context:
            version = execute(context, promote, record=profile(2))["version"]
        uri = f"file://{tmp_path}/nightly"
        n_rows, said = in_pod(tmp_path, loading(uri, secret=SECRET, api_host=server.url))
        assert n_rows == 2
        assert f"the reference is {version[:12]}: {ARTIFACT}, which is v0 in W&amp;B" in said
        assert server.unknown == []


@pytest.mark.usefixtures("in_this_process")
def test_an_alias_that_was_moved_is_followed_and_remembered(
    server: WandbServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = "ops/payments/moved:production"
    uri = f"file://{tmp_path}/nightly"
    load = loading(uri, wandb_artifact=name, secret=SECRET)
    assert in_pod(tmp_path, load)[0] == 2
    artifact = wandb.Api(overrides={"base_url": server.url}).artifact("ops/payments/moved:v0")
    artifact.aliases.append("production")
    artifact.save()
    assert in_pod(tmp_path, load)[0] == 1
    server.fault = Fault("refuse")
    n_rows, said = in_pod(tmp_path, load)
    assert n_rows == 1
    assert "W&amp;B is away, so the reference is" in said
    assert "W&B is away, so the reference is" in caplog.text
    history = ReferenceFiles(uri, Profile).history("payments")
    assert [(each.reason, each.by) for each in history.decisions] == [
        (f"{name} is {version} in W&B", EXECUTION) for version in ("v1", "v0")
    ]


@pytest.mark.parametrize(
    "fault",
    [
        *map(Fault, ("refuse", "reset", "cut", "page")),
        *(Fault(status=status) for status in (302, 307, 407, 408, 429, 500, 503)),
    ],
    ids=lambda fault: f"{fault.kind} {fault.status}",
)
def test_an_outage_is_survived_with_what_the_artifact_gave_last(
    server: WandbServer, tmp_path: Path, fault: Fault
) -> None:
    server.fault = fault
    with pytest.raises(AwayError, match=r"or have been loaded into .* before, and W&B is away"):
        loading(tmp_path).compute()
    files = last_known(server, tmp_path, profile(3))
    # what the folder's own alias points at is another matter
    files.promote("payments", files.save("payments", profile(4)).digest, reason="by hand")
    assert loading(tmp_path).compute().n_rows == 3
    other = "ops/payments/payments-profile:candidate"
    with pytest.raises(AwayError, match="candidate"):
        loading(tmp_path, wandb_artifact=other).compute()


def test_a_store_of_files_that_does_not_answer_is_waited_for_until_the_time_is_over(
    server: WandbServer, tmp_path: Path
) -> None:
    last_known(server, tmp_path, profile(3))
    server.fault = Fault(status=503, on=STORAGE)
    start = time.monotonic()
    assert loading(tmp_path, timeout_s=3).compute().n_rows == 3
    # the time limit of wandb's own client is twenty minutes
    assert time.monotonic() - start < 60


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refusal_is_no_outage(server: WandbServer, tmp_path: Path, status: int) -> None:
    last_known(server, tmp_path, profile(3))
    server.fault = Fault(status=status)
    with pytest.raises(PublishError, match=f"answered {status}") as error:
        loading(tmp_path).compute()
    assert not isinstance(error.value, AwayError)
    assert KEY not in str(error.value)


def test_a_key_that_the_server_does_not_know_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "b" * 40)
    with pytest.raises(ServerRefusedError, match="it refuses the W&B key; check the secret"):
        loading(tmp_path).compute()


@pytest.mark.usefixtures("in_this_process")
def test_an_alias_that_nobody_knows_is_named_also_if_there_was_one(
    server: WandbServer, tmp_path: Path
) -> None:
    last_known(server, tmp_path, profile(3))
    (artifact,) = (one for one in server.artifacts if one.name == "payments-profile")
    artifact.aliases.remove("production")
    try:
        with pytest.raises(PublishError, match="'payments-profile:production' not found in"):
            loading(tmp_path).compute()
    finally:
        artifact.aliases.append("production")


BROKEN = [
    *(
        Fault(kind, on=f"{STORAGE}{place}")
        for kind in ("cut", "page")
        for place in ("manifest", "artifact")
    ),
    *(Fault("page", on=name) for name in ("ArtifactMembershipByName", "GetArtifactMembership")),
    Fault(status=302, on=f"{STORAGE}artifact"),
    Fault(status=302, on="FetchArtifactManifest"),
]


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("fault", BROKEN, ids=lambda fault: f"{fault.kind} {fault.on}")
def test_an_outage_after_the_first_answer_is_one_too(
    server: WandbServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: Fault
) -> None:
    last_known(server, tmp_path, profile(3))
    server.fault = fault
    assert loading(tmp_path).compute().n_rows == 3
    assert f"W&B at {server.url} has '{ARTIFACT}', and the download failed: " in caplog.text


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("status", "on"),
    [
        (403, f"{STORAGE}manifest"), (404, f"{STORAGE}artifact"), (403, "FetchArtifactManifest"),
        (404, "ArtifactMembershipByName"),
    ],
)  # fmt: skip
def test_a_download_that_is_refused_is_no_outage(
    server: WandbServer, tmp_path: Path, status: int, on: str
) -> None:
    last_known(server, tmp_path, profile(3))
    server.fault = Fault(status=status, on=on)
    with pytest.raises(PublishError, match="check its name and alias, and the key") as error:
        loading(tmp_path).compute()
    assert not isinstance(error.value, AwayError)
    # where wandb looks for a file whose URL is refused
    server.unknown[:] = [one for one in server.unknown if "/artifactsV2/" not in one]


@pytest.mark.parametrize(
    ("name", "is_found", "kind"),
    [
        ("payments-profile", False, AwayError),
        ("nobodys", True, AwayError),
        ("nobodys", False, PublishError),
    ],
)
def test_what_breaks_is_an_outage_if_either_question_found_the_artifact(
    server: WandbServer, monkeypatch: pytest.MonkeyPatch, name: str, is_found: bool,
    kind: type[Exception],
) -> None:  # fmt: skip
    def run(_: str, folder: str, *__: str, **___: Any) -> int:
        told = {"failed": f"OSError: broken {KEY}", "is_found": is_found, "is_final": False}
        Path(folder, ANSWER).write_text(json.dumps(told))
        return 0

    monkeypatch.setattr(fetch, "run_child", run)
    with pytest.raises(PublishError, match="OSError: broken") as error:
        fetching(server, f"{name}:production")
    assert type(error.value) is kind
    assert KEY not in str(error.value)


def test_a_server_that_went_away_meanwhile_is_away(
    server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(_: str, folder: str, *__: str, **___: Any) -> int:
        server.fault = Fault(status=502)
        told = {"failed": "CommError: no", "is_found": False, "is_final": False}
        Path(folder, ANSWER).write_text(json.dumps(told))
        return 0

    monkeypatch.setattr(fetch, "run_child", run)
    with pytest.raises(AwayError, match="502"):
        fetching(server, "nobodys:production")


def test_a_server_that_does_not_know_our_question_may_know_that_of_wandb(
    server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise RefusedError('Cannot query field "artifact" on type "Project".')

    def run(_: str, folder: str, *__: str, **___: Any) -> int:
        place = Path(folder, FILES)
        profile(5).save(place / "x")
        Path(folder, ANSWER).write_text(json.dumps({"version": "v7", "file": "x"}))
        return 0

    monkeypatch.setitem(wandb_backend._OPERATIONS, "ArtifactByName", refuse)
    monkeypatch.setattr(fetch, "run_child", run)
    assert fetching(server, "payments-profile:production").n_rows == 5


def test_a_process_that_dies_is_told_as_what_it_is(
    server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "run_child", lambda *_, **__: -9)
    with pytest.raises(PublishError, match="ended with -9 and said nothing"):
        fetching(server, "payments-profile:production")


@pytest.mark.usefixtures("in_this_process")
def test_what_is_no_such_record_is_refused_with_the_file(server: WandbServer) -> None:
    with pytest.raises(DataError, match=r"exactly one file, or .* found 2: 'one.wbmon-profile'"):
        fetching(server, "both:production")
    with pytest.raises(DataError, match=r"other:v0 \(v0\), baseline.* Profile.save wrote"):
        fetching(server, "other:v0")


def test_the_key_reaches_its_server_only_and_no_environment(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    (tmp_path / "netrc").write_text("default login user password " + "d" * 40)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    n_before = len(server.requests)
    seen: list[bytes] = []

    def look() -> None:
        """At the process that downloads, and those that it started."""
        own, family = str(os.getpid()), set[str]()
        for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda one: int(one.name)):
            with suppress(OSError):
                command = (folder / "cmdline").read_bytes()
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                if parent in family or (parent == own and b"fetch_process" in command):
                    family.add(folder.name)
                    seen.append(command + (folder / "environ").read_bytes())

    def look_while_it_downloads() -> None:
        wait_until(lambda: any(one.path == "/graphql" and one.operation == "FetchArtifactManifest"
                               for one in server.requests[n_before:]))  # fmt: skip
        look()
        server.fault = None

    with WandbServer() as other, pod_context(tmp_path, task="t.load", env=MOUNTED) as context:
        monkeypatch.setenv("WANDB_BASE_URL", other.url)
        monkeypatch.delenv("WANDB_API_KEY")
        server.fault = Fault("hang", on=STORAGE)
        load = loading(f"file://{tmp_path}/references", secret=SECRET, api_host=server.url)
        thread = threading.Thread(target=look_while_it_downloads)
        thread.start()
        assert execute(context, load)["o0"].n_rows == 1
        thread.join()
        assert other.requests == []
    assert len(seen) > 1
    assert not any(KEY.encode() in one for one in seen)
    assert KEY not in caplog.text
    asked = server.requests[n_before:]
    # the URLs of files are signed: whoever knows one needs no key
    assert {one.api_key for one in asked if one.path.startswith(STORAGE)} == {""}
    assert {one.api_key for one in asked if not one.path.startswith(STORAGE)} == {KEY}


@pytest.mark.usefixtures("in_this_process")
def test_another_kind_of_record_of_the_model_is_kept_apart(
    server: WandbServer, tmp_path: Path
) -> None:
    last_known(server, tmp_path, profile(3))
    load = loading(
        tmp_path, record=PerformanceReport, wandb_artifact="ops/payments/other:production"
    )
    assert load.compute().to_bytes() == performance_report().to_bytes()
    assert ReferenceFiles(str(tmp_path), Profile).history("payments").versions[0].digest
