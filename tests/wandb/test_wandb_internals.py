"""Releases of wandb in which a private part is missing or has another shape."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import wandb.cli.beta_sync

import wandb
from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs import sync_command as wandb_sync
from flytekitplugins.wbmon.delivery.runs import wandb_internals
from flytekitplugins.wbmon.delivery.runs.deliver import RunDelivery
from flytekitplugins.wbmon.delivery.runs.packer import RunPacker
from flytekitplugins.wbmon.delivery.runs.store import CHANGING, find_runs
from flytekitplugins.wbmon.delivery.runs.transaction_log import log_path, read_records
from flytekitplugins.wbmon.delivery.runs.unpack import unpack
from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.privacy.secrets import SecretRedactor
from flytekitplugins.wbmon.run import wandb_client as client
from flytekitplugins.wbmon.run.lifecycle import open_run
from flytekitplugins.wbmon.run.log_flusher import LogFlusher, pause_s
from flytekitplugins.wbmon.run.redacted_config import redacting_configs
from flytekitplugins.wbmon.run.settings import RunSettings
from support.waiting import wait_until
from support.wandb_faults import FILE_STREAM, Fault
from support.wandb_log import find_run, read_run
from support.wandb_server import KEY, WandbServer

pytestmark = pytest.mark.slow
FLUSH = "x_transaction_log_flush_interval"


@pytest.fixture(autouse=True)
def _say_everything_again() -> Iterator[None]:
    wandb_internals.note_version.cache_clear()
    wandb_internals.warn_missing.cache_clear()
    yield
    wandb_internals.note_version.cache_clear()
    wandb_internals.warn_missing.cache_clear()


@pytest.fixture
def without_flush_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wandb that keeps its log in memory, as every release before 0.31."""
    lean = {name: value for name, value in client._LEAN.items() if name != FLUSH}
    monkeypatch.setattr(client, "_LEAN", {**lean, "x_of_no_release": 1})
    monkeypatch.setattr(client, "_FLUSH_SETTING", "x_of_no_release")


def settings(**changes: Any) -> RunSettings:
    return RunSettings(**{"project": "p", "entity": "ops", "init": {"mode": "offline"}, **changes})


def rows_on_disk(folder: Path) -> list[int]:
    return find_run(folder, settle_s=0).column("row")


@pytest.mark.usefixtures("without_flush_setting")
def test_a_log_that_wandb_keeps_in_memory_is_on_disk_a_second_later(folder: Path) -> None:
    with open_run(settings()) as run:
        for row in range(3):
            run.log({"row": row})
        wait_until(lambda: rows_on_disk(folder) == [0, 1, 2])
        run.log({"row": 3})
        wait_until(lambda: rows_on_disk(folder) == [0, 1, 2, 3])
    assert read_run(Path(run.settings.sync_dir)).exit_code == 0


@pytest.mark.usefixtures("without_flush_setting")
def test_a_log_is_flushed_only_when_there_is_something_new(folder: Path) -> None:
    with open_run(settings()) as run:
        log = log_path(Path(run.settings.sync_dir))
        run.log({"row": 0})
        wait_until(lambda: rows_on_disk(folder) == [0])
        time.sleep(1.5)  # one more flush may be due for what wandb itself has sent
        size = log.stat().st_size
        time.sleep(2.5)
        assert log.stat().st_size == size


@pytest.mark.usefixtures("without_flush_setting")
def test_outputs_hold_every_row_however_long_the_pause(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flytekitplugins.wbmon.run.log_flusher.pause_s", lambda *_: 900.0)
    with open_run(settings(log_artifacts=True)) as run:
        for row in range(50):
            run.log({"row": row})
    outputs = find_run(folder).artifacts[-1].files["metrics.csv"]
    assert len(Path(outputs).read_text().splitlines()) == 1 + 50


@pytest.mark.parametrize(
    ("duration_s", "n_mib", "last_pause_s"), [(600, 19, 1), (3600, 62, 3.3), (86400, 318, 17)]
)
def test_constant_logging_makes_the_log_grow_by_a_bounded_rate(
    duration_s: float, n_mib: float, last_pause_s: float
) -> None:
    now, n = 0.0, 0
    while now < duration_s:
        now, n = now + pause_s(n, 1.0), n + 1
    assert n * wandb_internals.BLOCK / 2**20 == pytest.approx(n_mib, rel=0.02)
    assert pause_s(n, 1.0) == pytest.approx(last_pause_s, rel=0.02)


def test_a_log_that_does_not_come_to_disk_is_told(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = settings(init={"mode": "offline", "settings": {FLUSH: 900.0}})
    with open_run(own) as run:
        monkeypatch.setattr(wandb_internals, "BLOCK", 8)  # wandb has come to write larger blocks
        flusher = LogFlusher(run, every_s=0.02)
        wait_until(lambda: "stays in memory" in caplog.text)
        flusher.stop()
        run.log({"row": 1})
    assert rows_on_disk(folder) == [1]


@pytest.mark.usefixtures("without_flush_setting")
def test_without_a_way_to_flush_the_run_goes_on_and_it_is_told_once(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(run: Any) -> Any:
        raise wandb_internals.UnsupportedWandbError("none")

    monkeypatch.setattr("flytekitplugins.wbmon.run.log_flusher.publisher", none)
    for _ in range(2):
        with open_run(settings()) as run:
            run.log({"row": 1})
        assert read_run(Path(run.settings.sync_dir)).column("row") == [1]
    assert caplog.text.count("is lost if it is killed") == 1
    assert wandb.__version__ in caplog.text


@pytest.mark.parametrize("lacking", ["_publish", "_interface"])
def test_a_run_of_another_shape_cannot_be_flushed(
    lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_run(settings()) as run:
        with monkeypatch.context() as patch:
            if lacking == "_publish":
                patch.setattr(run._interface, "_publish", None)
            else:
                patch.setattr(run, "_interface", None)
            with pytest.raises(wandb_internals.UnsupportedWandbError, match="interface"):
                LogFlusher(run, every_s=1)
        run.log({"row": 1})


@pytest.mark.usefixtures("without_flush_setting")
def test_what_fills_the_log_is_neither_sent_nor_stored(
    folder: Path, server: WandbServer, tmp_path: Path
) -> None:
    with open_run(settings(id="padded")) as run:
        run.log({"row": 0})
        wait_until(lambda: rows_on_disk(folder) == [0])
        run.log({"row": 1})
    written = Path(run.settings.sync_dir)
    assert any(map(wandb_internals.is_padding, read_records(log_path(written))))
    (tmp_path / "packed").write_bytes(RunPacker(written).advance(most=10**6))
    packed = list(read_records(tmp_path / "packed"))
    assert not any(map(wandb_internals.is_padding, packed))
    assert [one.WhichOneof("record_type") for one in packed].count("history") == 2
    # W&B's own sync passes over it
    wandb_sync.sync_apart(
        log_path(written), api_host=server.url, key=ApiKey(KEY), until=lambda: math.inf
    )
    assert server.run("p", "padded").column("row") == [0, 1]
    assert server.run("p", "padded").state == "finished"


def sync_of_0_23(paths: Any, *, dry_run: bool, skip_synced: bool, verbose: bool) -> None:
    """It cannot follow a log."""


def sync_of_a_later_release(paths: Any, *, live: bool, region: str) -> None:
    """It must be told something unknown."""


@pytest.mark.parametrize("sync", [sync_of_0_23, sync_of_a_later_release, None])
def test_a_live_sync_of_another_shape_is_not_called(
    sync: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb.cli.beta_sync, "sync", sync)
    assert wandb_internals.live_sync() is None
    assert wandb_sync.sync_live(Path("none")) is False


def test_a_live_sync_is_told_what_it_asks_for_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = {}

    def sync(paths: Any, *, live: bool, parallelism: int, color: str = "auto") -> None:
        told.update(paths=paths, live=live, parallelism=parallelism, color=color)

    monkeypatch.setattr(wandb.cli.beta_sync, "sync", sync)
    assert wandb_sync.sync_live(Path("log")) is True
    assert told == {"paths": [Path("log")], "live": True, "parallelism": 1, "color": "auto"}


def test_without_the_class_of_a_config_it_goes_out_as_it_is_and_that_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "wandb.sdk.wandb_config", None)
    with redacting_configs(SecretRedactor()):
        pass
    assert "are not hidden" in caplog.text


def test_a_run_whose_log_cannot_be_read_is_stored_as_it_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = str(tmp_path / "store")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "wandb.proto.wandb_internal_pb2", None)
        with open_run(settings(offline_store=store)) as run:
            run.log({"row": 1})
        assert "must have the class Record" in caplog.text
        time.sleep(0.5)  # nothing can tell when the run's end is on disk
    (kept,) = find_runs(OfflineStore(store))
    assert kept.run.n_rows == 0
    with OfflineStore(store).borrow(kept.stored, timeout_s=60, changing=CHANGING) as back:
        unpack(back.folder, kept.stored.about)
        assert read_run(log_path(back.folder)).project == "p"
    assert read_run(Path(run.settings.sync_dir)).column("row") == [1]


@pytest.mark.parametrize(
    ("version", "is_told"), [("0.31.0", False), ("0.23.1", False), ("0.22.3", True), ("9.9", True)]
)
def test_a_release_that_was_never_tried_is_told_once(
    version: str,
    *,
    is_told: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(wandb, "__version__", version)
    for _ in range(2):
        wandb_internals.note_version()
    assert caplog.text.count(f"wandb {version} is not one of the releases") == int(is_told)
    assert f"wandb {version}" in caplog.text


def test_globals_that_a_release_does_not_have_are_passed_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_GLOBALS", (*client._GLOBALS, "of_no_release"))
    with open_run(settings()):
        wandb.log({"row": 1})
    assert rows_on_disk(folder) == [1]


def failed_run(server: WandbServer) -> RunDelivery:
    """A run that failed, and its delivery."""
    with suppress(ValueError), open_run(settings(id="failed")) as run:
        run.log({"row": 0})
        raise ValueError("boom")
    until = time.monotonic() + 20
    return RunDelivery(
        Path(run.settings.sync_dir),
        api_host=server.url,
        key=ApiKey(KEY),
        has_ended=lambda: True,
        until=lambda: until,
    )


def test_an_outcome_that_arrived_wrong_is_mended(server: WandbServer) -> None:
    delivery = failed_run(server)
    assert delivery.run(live=False).is_confirmed
    served = server.run("p", "failed")
    assert (served.state, served.exit_code, served.n_finished) == ("failed", 1, 1)
    # what the sync of wandb before 0.28 leaves
    served.state, served.exit_code = "finished", 0
    assert delivery.check() == ""
    assert (served.state, served.exit_code, served.n_finished) == ("failed", 1, 2)


def test_a_wrong_outcome_that_stays_is_not_a_delivery(server: WandbServer) -> None:
    delivery = failed_run(server)
    assert delivery.run(live=False).is_confirmed
    server.run("p", "failed").state = "finished"
    server.fault = Fault(on=FILE_STREAM)
    delivery.progress.is_confirmed = False
    assert "503" in delivery.check()
    assert not delivery.progress.is_confirmed
    assert server.run("p", "failed").state == "finished"
