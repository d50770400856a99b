from __future__ import annotations

from pathlib import Path

import pytest

from flytekitplugins.wbmon.delivery.runs.progress import (
    FILE_NAME,
    DeliveryProgress,
    progress_file,
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def close(run: Path) -> Path:
    """Make a save in the folder fail, for root too."""
    obstacle = run / f"{FILE_NAME}.new"
    obstacle.mkdir()
    (obstacle / "in-the-way").touch()
    return obstacle


def test_progress_that_cannot_be_saved_beside_the_run_is_saved_elsewhere_and_found(
    run: Path,
) -> None:
    DeliveryProgress(first_line=3).save(run)
    obstacle = close(run)
    DeliveryProgress(first_line=3, is_confirmed=True, reason="").save(run)
    assert DeliveryProgress.load(run).is_confirmed
    assert progress_file(run) != run / FILE_NAME
    (obstacle / "in-the-way").unlink()
    obstacle.rmdir()
    DeliveryProgress(first_line=4).save(run)
    assert DeliveryProgress.load(run) == DeliveryProgress(first_line=4)
    assert progress_file(run) == run / FILE_NAME


def test_what_an_earlier_release_saved_is_read(run: Path) -> None:
    (run / FILE_NAME).write_text('{"first_line": 2, "is_sent": true, "alerts": [0]}')
    assert DeliveryProgress.load(run) == DeliveryProgress(first_line=2, is_sent=True, alerts=[0])


def test_progress_that_can_be_saved_nowhere_ends_no_delivery(
    run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    close(run)
    monkeypatch.setattr(
        "flytekitplugins.wbmon.storage.room._temporary_folders", lambda: iter([run / "absent"])
    )
    DeliveryProgress(first_line=3).save(run)
    assert "cannot be saved" in caplog.text
