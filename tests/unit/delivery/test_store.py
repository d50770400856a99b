"""An offline store of folders: whole or not there, checked, and with one at a time."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.delivery.borrowed_folder import LEASE, BusyError, GoneError
from flytekitplugins.wbmon.delivery.store import Kept, OfflineStore, keep_in_time
from flytekitplugins.wbmon.delivery.stored_folder import MANIFEST, StoredFolder
from flytekitplugins.wbmon.errors import DataError, StorageError
from flytekitplugins.wbmon.storage.filesystem import open_filesystem
from flytekitplugins.wbmon.storage.lease import Lease, LeaseLostError

if TYPE_CHECKING:
    from support.s3 import S3Server

PROGRESS = ("progress.json",)
names = st.from_regex(r"[a-zA-Z0-9 %#?_.-]{1,12}", fullmatch=True).filter(
    lambda name: name.strip(". ") and name not in {MANIFEST, LEASE}
)


@pytest.fixture(params=["disk", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store on a local disk, or on S3 that only Flyte's variables tell of."""
    if request.param == "disk":
        return str(tmp_path / "store")
    server: S3Server = request.getfixturevalue("s3")
    for name, value in server.bucket("stores").env.items():
        if name.startswith("FLYTE_AWS"):
            monkeypatch.setenv(name, value)
    return f"s3://stores/{tmp_path.name}"


def put(store: OfflineStore, folder: Path, name: str = "run", **files: bytes) -> StoredFolder:
    """Store a folder with these files, and find it again."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = {}
    for file, content in ({"log.txt": b"log", "progress.json": b"0"} | files).items():
        sources[file] = folder / file
        sources[file].write_bytes(content)
    where = store.put(name, sources, {"entity": "ops"}, changing=PROGRESS)
    return next(each for each in store.find() if each.url == where)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(names, st.binary(max_size=300), min_size=1, max_size=4), names)
def test_a_folder_comes_back_as_it_was_stored(files: dict[str, bytes], name: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        source, store = Path(temporary, "source"), OfflineStore(f"{temporary}/the store #1")
        stored = put(store, source, name, **files)
        assert stored.about["entity"] == "ops"
        with store.borrow(stored, timeout_s=60, changing=PROGRESS) as back:
            found = {path.name: path.read_bytes() for path in back.folder.iterdir()}
        assert found == {"log.txt": b"log", "progress.json": b"0"} | files


def test_one_at_a_time_has_a_folder_and_when_it_is_delivered_nobody(
    url: str, tmp_path: Path
) -> None:
    store, other = OfflineStore(url), OfflineStore(url)
    stored = put(store, tmp_path / "source")
    with store.borrow(stored, timeout_s=60, changing=PROGRESS) as mine:
        with pytest.raises(BusyError), other.borrow(stored, timeout_s=60, changing=PROGRESS):
            pytest.fail("two have it")
        mine.remove()
    with pytest.raises(GoneError), other.borrow(stored, timeout_s=60, changing=PROGRESS):
        pytest.fail("it is delivered")
    assert store.find() == []
    assert store._files.find(store._root) == [], "nothing is left, not even a lease"


def test_how_far_a_delivery_came_is_there_for_the_next(url: str, tmp_path: Path) -> None:
    store = OfflineStore(url)
    stored = put(store, tmp_path / "source")
    with store.borrow(stored, timeout_s=60, changing=PROGRESS) as first:
        (first.folder / "progress.json").write_bytes(b"1")
        first.save_progress()
    with store.borrow(store.find()[0], timeout_s=60, changing=PROGRESS) as second:
        assert (second.folder / "progress.json").read_bytes() == b"1"
        assert (second.folder / "log.txt").read_bytes() == b"log"


def test_a_delivery_whose_lease_is_lost_ends_before_it_notes_anything(
    url: str, tmp_path: Path
) -> None:
    store = OfflineStore(url)
    stored = put(store, tmp_path / "source")
    with ExitStack() as stack:
        slow = stack.enter_context(store.borrow(stored, timeout_s=60, changing=PROGRESS))
        store._files.pipe_file(f"{stored.path}/{LEASE}", b"{}")  # as if it were over
        quick = stack.enter_context(store.borrow(stored, timeout_s=60, changing=PROGRESS))
        (slow.folder / "progress.json").write_bytes(b"slow")
        with pytest.raises(LeaseLostError):
            slow.save_progress()
        (quick.folder / "progress.json").write_bytes(b"quick")
        quick.save_progress()
    with store.borrow(stored, timeout_s=60, changing=PROGRESS) as after:
        assert (after.folder / "progress.json").read_bytes() == b"quick"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(b"lo"), "SHA-256"),
        (lambda path: path.write_bytes(b"lug"), "SHA-256"),
        (lambda path: path.unlink(), "is missing"),
    ],
    ids=["shorter", "other", "gone"],
)
def test_a_damaged_folder_is_named_and_left(tmp_path: Path, damage: object, said: str) -> None:
    store = OfflineStore(str(tmp_path / "store"))
    stored = put(store, tmp_path / "source")
    damage(tmp_path / "store" / "run" / "log.txt")
    with (
        pytest.raises(DataError, match=said) as caught,
        store.borrow(stored, timeout_s=60, changing=PROGRESS),
    ):
        pytest.fail("it is damaged")
    assert f"{stored.url}/log.txt" in str(caught.value)
    assert [each.url for each in store.find()] == [stored.url]


def test_a_manifest_cannot_write_outside_of_the_copy(tmp_path: Path) -> None:
    store = OfflineStore(str(tmp_path / "store"))
    put(store, tmp_path / "source")
    (tmp_path / "store" / "evil").write_text("evil")
    manifest = tmp_path / "store" / "run" / MANIFEST
    content = json.loads(manifest.read_text())
    content["files"]["../evil"] = [4, "0"]
    manifest.write_text(json.dumps(content))
    (stored,) = store.find()
    with (
        pytest.raises(DataError, match="must name files below it"),
        store.borrow(stored, timeout_s=60, changing=PROGRESS),
    ):
        pytest.fail("it would leave its folder")


def test_a_folder_without_a_manifest_is_not_there_yet(url: str, tmp_path: Path) -> None:
    store = OfflineStore(url)
    stored = put(store, tmp_path / "source")
    store._files.rm_file(f"{stored.path}/{MANIFEST}")
    assert store.find() == []
    marks = b'{"entity": "ops"}'
    store._files.pipe_file(f"{stored.path}/mark.json", marks)
    (marked,) = store.find(unsigned=lambda path: path.endswith("/mark.json"))
    assert (marked.url, marked.about, marked.files) == (stored.url, {"entity": "ops"}, None)


def test_a_process_that_dies_while_it_writes_the_manifest_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = OfflineStore(str(tmp_path / "store"))

    def die(path: str, data: bytes) -> None:
        Path(path).write_bytes(data[:9])
        raise KeyboardInterrupt

    monkeypatch.setattr(store._files, "pipe_file", die)
    with pytest.raises(KeyboardInterrupt):
        put(store, tmp_path / "source")
    monkeypatch.undo()
    assert store.find(is_sought=lambda path: path.endswith(".txt")) == []
    assert put(store, tmp_path / "source").problem == ""


DAMAGED = ["", "{", "[]", "7", "null", "\udcff", '{"files": 3}', '{"files": {"a": 1}}', "{}"]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_manifest_is_named_where_other_files_tell_what_it_was(
    tmp_path: Path, content: str
) -> None:
    store = OfflineStore(str(tmp_path / "store"))
    stored = put(store, tmp_path / "source")
    manifest = tmp_path / "store" / "run" / MANIFEST
    manifest.write_bytes(content.encode("utf-8", "surrogateescape"))
    (found,) = store.find(is_sought=lambda path: path.endswith(".txt"))
    assert found.url == stored.url
    assert f"{stored.url}/{MANIFEST} must describe" in found.problem
    with (
        pytest.raises(DataError, match="is damaged"),
        store.borrow(found, timeout_s=60, changing=PROGRESS),
    ):
        pytest.fail("nobody knows what should be there")
    assert store.find(is_sought=lambda path: path.endswith(".wandb")) == []
    assert (tmp_path / "store" / "run" / "log.txt").exists()


@pytest.mark.parametrize("content", DAMAGED)
def test_another_file_called_manifest_is_left_alone(tmp_path: Path, content: str) -> None:
    other = tmp_path / "model" / MANIFEST
    other.parent.mkdir()
    other.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert OfflineStore(str(tmp_path)).find() == []
    assert other.read_bytes() == content.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("name", ["fold*", "fold?", "fold[1]", "**"])
def test_removing_a_folder_removes_no_other(url: str, tmp_path: Path, name: str) -> None:
    store = OfflineStore(url)
    put(store, tmp_path / "other", "fold1")
    stored = put(store, tmp_path / "odd", name)
    with store.borrow(stored, timeout_s=60, changing=PROGRESS) as borrowed:
        borrowed.remove()
    assert [each.url for each in store.find()] == [f"{url}/fold1"]


def test_a_bucket_that_does_not_exist_is_no_empty_store(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in s3.bucket("stores").env.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(FileNotFoundError, match="s3://mistyped-store"):
        OfflineStore("s3://mistyped-store/runs").find()
    assert OfflineStore("s3://stores/nothing-yet").find() == []


def test_the_url_of_a_store_is_told_without_its_password() -> None:
    assert OfflineStore("memory://me:hunter2@host/x").url == "memory://host/x"


def test_a_store_below_any_folder_is_found(url: str, tmp_path: Path) -> None:
    put(OfflineStore(f"{url}/deep/er"), tmp_path / "source")
    (stored,) = OfflineStore(f"{url}/").find()
    assert stored.url == f"{url}/deep/er/run"
    assert OfflineStore(f"{url}/empty").find() == []


def test_what_cannot_be_stored_in_time_stays_where_it_is(tmp_path: Path) -> None:
    began = time.monotonic()
    kept = keep_in_time(
        lambda: time.sleep(30) or "there", url="s3://user:pass@b/x", folder=tmp_path, timeout_s=0.2
    )
    assert time.monotonic() - began < 10
    assert kept.place == str(tmp_path)
    assert "s3://b/x must take what is put there; no answer within 0.2 s" in kept.problem
    assert "pass" not in kept.problem


def test_a_store_out_of_reach_is_named_with_what_was_tried_and_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    def store() -> str:
        return put(OfflineStore("s3://bucket/raw"), tmp_path / "source").url

    kept = keep_in_time(store, url="s3://bucket/raw", folder=tmp_path, timeout_s=60)
    assert kept.place == str(tmp_path)
    for part in ("s3://bucket/raw", "NoCredentialsError", "FLYTE_AWS_ACCESS_KEY_ID"):
        assert part in kept.problem
    with pytest.raises(StorageError, match="FLYTE_AWS_ACCESS_KEY_ID"):
        OfflineStore("s3://bucket/raw").find()


def test_what_is_stored_in_time_is_where_it_was_put(tmp_path: Path) -> None:
    kept = keep_in_time(lambda: "there", url="x", folder=tmp_path, timeout_s=30)
    assert kept == Kept("there")


def test_a_folder_that_was_deleted_is_named_and_not_the_store(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    kept = keep_in_time((gone / "log").read_text, url="s3://b/x", folder=gone, timeout_s=30)
    assert kept == Kept("", f"{gone} must stay until it is stored, and was deleted")


def test_a_process_that_can_start_no_thread_says_so_and_blames_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    kept = keep_in_time(lambda: "there", url="s3://b/x", folder=tmp_path, timeout_s=30)
    assert kept.place == str(tmp_path)
    assert "must be able to start a thread" in kept.problem
    assert "s3://b/x" not in kept.problem


def test_a_copy_that_never_got_its_lease_is_removed_with_what_it_has(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Lease:
        raise OSError("too many open files")

    store = OfflineStore(url)
    put(store, tmp_path / "source", "other")
    copy = store.grow("copy")
    copy.add("log/0.part", b"rows")
    monkeypatch.setattr(Lease, "acquire", refuse)
    with pytest.raises(OSError, match="too many open files"):
        copy.mark({})
    copy.remove()
    files, root = open_filesystem(url)
    files.invalidate_cache()
    assert not [path for path in files.find(root) if "/copy/" in path]
    assert len(store.find()) == 1
