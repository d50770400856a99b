from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from flytekitplugins.wbmon.errors import DataError, PublishError
from flytekitplugins.wbmon.monitor.alerts.state import AlertMemory, Notification
from flytekitplugins.wbmon.publish.alerts.state_file import MemoryFile
from flytekitplugins.wbmon.storage.compare_and_swap import read_file, replace_file
from support.environment import clean_environment
from support.examples import AT
from support.s3 import S3Server
from support.store import Store

N_WRITERS, N_WRITES = 2, 15

# each writer adds marks of its own; a lost update is a lost mark
WRITER = """
import sys
from dataclasses import replace
from flytekitplugins.wbmon.publish.alerts.state_file import MemoryFile

uri, name, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
file = MemoryFile(uri)
for number in range(n):
    file.update(lambda memory: replace(memory, made=(*memory.made, f"{name}-{number}")))
"""


def marked(memory: AlertMemory, mark: str) -> AlertMemory:
    return replace(memory, made=(*memory.made, mark))


def write_together(uri: str, home: Path, env: Mapping[str, str]) -> None:
    """Let several processes change one file at the same time."""
    environment = {**clean_environment(home=home), **env}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, uri, f"w{number}", str(N_WRITES)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(N_WRITERS)
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors


def expected_marks() -> set[str]:
    return {f"w{writer}-{number}" for writer in range(N_WRITERS) for number in range(N_WRITES)}


def test_two_processes_lose_none_of_each_others_changes_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "state" / "monitor.json"
    write_together(str(path), tmp_path, {})
    memory = MemoryFile(str(path)).read()
    assert set(memory.made) == expected_marks()
    assert memory.revision == N_WRITERS * N_WRITES
    assert sorted(each.name for each in path.parent.iterdir()) == [
        ".monitor.json.lock",
        "monitor.json",
    ]


def test_two_processes_lose_none_of_each_others_changes_on_s3(s3: S3Server, tmp_path: Path) -> None:
    store = s3.bucket("memory-writers")
    uri = store.url("monitors", "payments.json")
    write_together(uri, tmp_path, store.env)
    memory = MemoryFile(uri, file_system(store)).read()
    assert set(memory.made) == expected_marks()
    assert memory.revision == N_WRITERS * N_WRITES


def file_system(store: Store) -> fsspec.AbstractFileSystem:
    return fsspec.url_to_fs(store.root, **store.options)[0]


@pytest.fixture(params=["disk", "s3", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[fsspec.AbstractFileSystem, str]:
    """A file system of each kind, and a file in it that is not there yet."""
    name = f"{request.node.name.partition('[')[0][5:45].strip('_')}.json"
    if request.param == "disk":
        return fsspec.filesystem("file"), str(tmp_path / "folder" / name)
    if request.param == "memory":
        return fsspec.filesystem("memory"), f"memory://{tmp_path.name}/{name}"
    server: S3Server = request.getfixturevalue("s3")
    bucket = f"compare_and_swap-{abs(hash(request.node.name)) % 10**9}"
    store = server.bucket(bucket)
    return file_system(store), store.url("folder", name)


def test_a_file_is_replaced_only_by_who_read_it_last(
    place: tuple[fsspec.AbstractFileSystem, str],
) -> None:
    filesystem, path = place
    data, nothing = read_file(filesystem, path)
    assert data is None
    assert replace_file(filesystem, path, b"first", nothing)
    assert not replace_file(filesystem, path, b"too late", nothing)
    _, first = read_file(filesystem, path)
    assert replace_file(filesystem, path, b"second", first)
    assert not replace_file(filesystem, path, b"too late", first)
    assert read_file(filesystem, path)[0] == b"second"


def test_a_file_that_was_deleted_meanwhile_is_not_brought_back(
    place: tuple[fsspec.AbstractFileSystem, str],
) -> None:
    filesystem, path = place
    replace_file(filesystem, path, b"first", read_file(filesystem, path)[1])
    _, version = read_file(filesystem, path)
    filesystem.rm_file(path)
    assert not replace_file(filesystem, path, b"second", version)
    assert read_file(filesystem, path)[0] is None


def test_a_memory_comes_back_as_it_was_written(tmp_path: Path) -> None:
    file = MemoryFile(str(tmp_path / "m.json"))
    notification = Notification(
        id="n", kind="firing", severity="warn", title="t", text="x", at=AT, sender_until=AT
    )
    file.update(lambda memory: replace(memory, outbox=(notification,), notified={"t": AT}))
    assert file.read() == AlertMemory(revision=1, outbox=(notification,), notified={"t": AT})


def test_a_change_is_applied_anew_to_what_another_writer_wrote(tmp_path: Path) -> None:
    path = str(tmp_path / "m.json")
    seen: list[tuple[str, ...]] = []

    def change(memory: AlertMemory) -> AlertMemory:
        seen.append(memory.made)
        if len(seen) == 1:
            MemoryFile(path).update(lambda other: marked(other, "other"))
        return marked(memory, "mine")

    kept = MemoryFile(path).update(change)
    assert seen == [(), ("other",)]
    assert kept.made == ("other", "mine")


def test_who_never_comes_first_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flytekitplugins.wbmon.publish.alerts.state_file._LONGEST_WAIT_S", 0.0)
    path = str(tmp_path / "m.json")

    def change(memory: AlertMemory) -> AlertMemory:
        MemoryFile(path).update(lambda other: marked(other, "other"))
        return memory

    with pytest.raises(PublishError, match="state_uri of its own"):
        MemoryFile(path).update(change)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b'{"version": "x"}', b"\xff\xfe", b'{"version": 0}', b"[" * 100_000,
        *(
            b'{"version": %d, %s}' % (version, state)
            for version in (1, 2)
            for state in (
                b'"state": []', b'"state": {"rules": null}', b'"state": {"rules": {"a": 3}}',
            )
        ),
    ],
)  # fmt: skip
def test_a_broken_file_is_put_aside_and_the_memory_starts_afresh(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(content)
    file = MemoryFile(str(path))
    file.update(lambda memory: marked(memory, "new"))
    (aside,) = tmp_path.glob("m.json.broken-*")
    assert aside.read_bytes() == content
    assert str(aside) in file.finding
    assert str(aside) in caplog.text
    assert MemoryFile(str(path)).read().made == ("new",)


def test_reading_a_broken_file_says_which_it_is(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text("{")
    with pytest.raises(DataError, match=str(path)):
        MemoryFile(str(path)).read()


def test_the_memory_of_release_0_2_is_read_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "monitor.json"
    path.write_bytes((Path(__file__).parent / "memory_of_0_2.json").read_bytes())

    file = MemoryFile(str(path))
    file.update(lambda memory: marked(memory, "new"))

    memory = MemoryFile(str(path)).read()
    assert file.finding == ""
    assert memory.version == 2
    assert memory.state.rules["worse"].is_notified
    assert memory.state.before["worse"].is_notified
    assert list(memory.notified) == ["worse"]
    assert [f"{window.at:%d}" for window in memory.history] == ["05", "06"]
    assert memory.made == ("worse|firing|2026-01-05T02:00:00+00:00", "new")


def test_the_file_of_a_newer_release_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text('{"version": 3, "rules": {}}')
    with pytest.raises(DataError, match="must have version 1 or 2, got 3, of a newer release"):
        MemoryFile(str(path)).update(lambda memory: marked(memory, "new"))
    with pytest.raises(DataError, match="newer release"):
        MemoryFile(str(path)).read()
    assert [each.name for each in tmp_path.iterdir()] == ["m.json"]
    assert path.read_text() == '{"version": 3, "rules": {}}'
