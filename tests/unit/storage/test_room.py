from __future__ import annotations

import os
from pathlib import Path

import pytest

from flytekitplugins.wbmon.storage.room import (
    absolute_path,
    discard_scratch,
    find_scratch,
    folder_with_room,
    free_bytes,
    scratch_folder,
    temporary_folder,
    why_not_writable,
)
from support.file_limit import file_limit


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A folder that nobody can write to, not even root, as a file stands in its place."""
    (tmp_path / "file").touch()
    return tmp_path / "file" / "folder"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_a_path_is_that_of_the_working_directory_or_of_the_temporary_folder_if_that_is_gone(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    assert absolute_path("runs") == tmp_path / "gone" / "runs"
    (tmp_path / "gone").rmdir()
    assert absolute_path("runs") == temporary / "runs"
    assert absolute_path("~/runs") == tmp_path / "home" / "runs"
    assert absolute_path("/runs") == Path("/runs")


def test_a_folder_is_writable_if_a_file_can_be_written_in_it(tmp_path: Path, closed: Path) -> None:
    assert why_not_writable(tmp_path) == ""
    assert why_not_writable(closed) == "Not a directory"
    assert why_not_writable(tmp_path / "absent") == "No such file or directory"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "temporary"]


def test_a_file_that_does_not_fit_cannot_be_written(tmp_path: Path) -> None:
    with file_limit(1000):
        assert why_not_writable(tmp_path, 4096) != ""
        assert why_not_writable(tmp_path, 1000) == ""


def test_the_users_temporary_folder_is_taken_if_it_can_be_written_to(
    temporary: Path, closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert temporary_folder() == temporary
    monkeypatch.setenv("TMPDIR", str(closed))
    monkeypatch.setenv("TEMP", str(temporary))
    assert temporary_folder() == temporary


def test_a_folder_with_room_is_the_preferred_one_if_it_has_room(
    tmp_path: Path, temporary: Path, closed: Path
) -> None:
    assert folder_with_room(tmp_path) == tmp_path
    assert folder_with_room(closed) == temporary
    # nothing has so much room: that with the most is taken
    most = folder_with_room(tmp_path, n_bytes=10**18)
    assert free_bytes(most) >= free_bytes(tmp_path)


def test_a_scratch_folder_is_found_again_and_removed(tmp_path: Path, temporary: Path) -> None:
    run = tmp_path / "run"
    assert find_scratch(run, "note") is None
    scratch = scratch_folder(run)
    assert scratch.parent == temporary
    assert scratch_folder(run) == scratch
    assert scratch_folder(tmp_path / "other") != scratch
    (scratch / "note").write_text("x")
    assert find_scratch(run, "note") == scratch / "note"
    discard_scratch(run, "note")
    assert find_scratch(run, "note") is None
    discard_scratch(run)
    assert not scratch.exists()


def test_a_link_in_the_place_of_a_scratch_folder_is_not_followed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    scratch = scratch_folder(run)
    scratch.rmdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "note").write_text("of somebody else")
    scratch.symlink_to(elsewhere)
    assert find_scratch(run, "note") is None
    with pytest.raises(OSError, match="must be a folder of this user"):
        scratch_folder(run)
    discard_scratch(run)
    assert (elsewhere / "note").exists()


def test_a_folder_that_is_gone_has_no_room(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "absent") == 0
    assert free_bytes(tmp_path) == os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
