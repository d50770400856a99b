"""What a store answers when it fails: errors to act on, and another try where one helps."""

from __future__ import annotations

import asyncio
import pickle
import re
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import adlfs
import fsspec
import pytest
import s3fs
from fsspec.implementations.memory import MemoryFileSystem

from flytekitplugins.wbmon import Profile
from flytekitplugins.wbmon.data.open import open_source
from flytekitplugins.wbmon.errors import ConfigError, DataError, StorageError
from flytekitplugins.wbmon.llm import read_calls, read_spans
from flytekitplugins.wbmon.storage.compare_and_swap import Version, read_file, replace_file
from flytekitplugins.wbmon.storage.filesystem import open_filesystem
from flytekitplugins.wbmon.storage.guard import opening, without_secrets
from support.s3 import S3Server
from support.s3_faults import FaultyS3, faulty_s3

SECRET = "wJalrXUtnFEMI"  # noqa: S105 - what must not be seen


@contextmanager
def loopback(status: int) -> Iterator[int]:
    """A web server that answers every request with a status; gives its port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        do_HEAD = do_GET  # noqa: N815 - the name that http.server asks for

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def proxy(s3: S3Server) -> Iterator[FaultyS3]:
    s3.bucket("faulty")
    with faulty_s3(s3.endpoint) as proxy:
        yield proxy


@pytest.fixture
def bucket(proxy: FaultyS3, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in {**s3.flyte_env, "FLYTE_AWS_ENDPOINT": proxy.endpoint}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    files, path = open_filesystem("s3://faulty/a")
    proxy.fail("GET")
    files.pipe_file(path, b"before")
    return files


def read_from(files: Any) -> bytes:
    with files.open("faulty/a", "rb") as file:
        return bytes(file.read())


def write_into(files: Any) -> None:
    with files.open("faulty/a", "wb") as file:
        file.write(b"after")


CALLS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "read": ("GET", lambda files: files.cat_file("faulty/a")),
    "read a part": ("GET", read_from),
    "look": ("HEAD", lambda files: (files.invalidate_cache(), files.info("faulty/a"))),
    "list": ("GET", lambda files: (files.invalidate_cache(), files.find("faulty"))),
    "write": ("PUT", lambda files: files.pipe_file("faulty/a", b"after")),
    "write a stream": ("PUT", write_into),
    "remove": ("DELETE", lambda files: files.rm_file("faulty/b")),
}


@pytest.mark.parametrize(
    "fault", ["InternalError", "ServiceUnavailable", "SlowDown", "reset", "lost"]
)
@pytest.mark.parametrize("call", CALLS)
def test_a_store_that_fails_once_is_asked_again(
    call: str, fault: str, proxy: FaultyS3, bucket: Any
) -> None:
    method, ask = CALLS[call]
    proxy.fail(method, fault)
    ask(bucket)
    assert proxy.count(method) >= 2
    assert bucket.cat_file("faulty/a") == (b"after" if "write" in call else b"before")


@pytest.mark.parametrize("call", CALLS)
def test_a_refusal_is_told_at_once_with_url_and_cure(
    call: str, proxy: FaultyS3, bucket: Any
) -> None:
    method, ask = CALLS[call]
    proxy.fail(method, "AccessDenied")
    with pytest.raises(
        StorageError, match=r"s3://faulty.* PermissionError: .*; allow who"
    ) as raised:
        ask(bucket)
    assert proxy.count(method) == 1
    assert isinstance(raised.value.__cause__, PermissionError)
    assert f"tried at {proxy.endpoint} with the access key that was given" in str(raised.value)


def test_a_file_that_is_not_there_is_asked_for_once_and_its_url_is_named(
    proxy: FaultyS3, bucket: Any
) -> None:
    proxy.fail("GET")
    with pytest.raises(FileNotFoundError, match="s3://faulty/none must exist"):
        bucket.cat_file("faulty/none")
    assert proxy.count("GET") == 1
    with pytest.raises(FileNotFoundError, match="s3://no-bucket/a must exist, and so must its"):
        bucket.pipe_file("no-bucket/a", b"")


def test_a_store_that_stays_down_is_given_up(proxy: FaultyS3, bucket: Any) -> None:
    proxy.fail("GET", *["InternalError"] * 99)
    with pytest.raises(StorageError, match="see that the store is up"):
        bucket.cat_file("faulty/a")
    assert 2 <= proxy.count("GET") <= 10


def test_a_conditional_write_whose_answer_is_lost_is_known_for_ones_own(
    proxy: FaultyS3, bucket: Any
) -> None:
    _, version = read_file(bucket, "faulty/state.json")
    proxy.fail("PUT", "lost")
    assert replace_file(bucket, "faulty/state.json", b"mine", version)
    assert not replace_file(bucket, "faulty/state.json", b"too late", version)
    assert bucket.cat_file("faulty/state.json") == b"mine"


def test_a_state_in_a_bucket_that_is_not_there_is_no_other_writers(bucket: Any) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape("s3://no-bucket/state.json must")):
        replace_file(bucket, "no-bucket/state.json", b"mine", Version())


def test_without_credentials_the_cure_names_both_families_and_no_secret(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYTE_AWS_ENDPOINT", f"http://user:{SECRET}@127.0.0.1:9")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StorageError, match="NoCredentialsError") as raised:
        Profile.load("s3://bucket/reference.profile")
    told = str(raised.value)
    assert "s3://bucket/reference.profile" in told
    assert "set FLYTE_AWS_ACCESS_KEY_ID" in told
    assert "or AWS_ACCESS_KEY_ID" in told
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_writing_without_credentials_is_told_at_the_end_of_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    files, path = open_filesystem("s3://bucket/a")
    with (
        pytest.raises(StorageError, match="s3://bucket/a must be within reach"),
        files.open(path, "wb") as file,
    ):
        file.write(b"1")


class Flaky(MemoryFileSystem):
    """A store whose library does not try again."""

    protocol = "flaky"
    faults: ClassVar[list[BaseException]] = []
    calls: ClassVar[list[str]] = []

    def _meet(self, name: str) -> None:
        self.calls.append(name)
        if self.faults:
            raise self.faults.pop(0)

    def cat_file(self, path: str, **kwargs: Any) -> bytes:
        self._meet("cat_file")
        return super().cat_file(path, **kwargs)

    def pipe_file(self, path: str, value: bytes, **kwargs: Any) -> None:
        super().pipe_file(path, value)
        self._meet("pipe_file")

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        self._meet("mv")
        super().mv(path1, path2, **kwargs)


class ServerDisconnectedError(Exception):
    """As aiohttp's, which is no error of the system."""

    status = 503


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("flytekitplugins.wbmon.storage.guard._PAUSES_S", (0.0, 0.0))
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    files, _ = open_filesystem("flaky://a")
    files.pipe_file("/a", b"1")
    Flaky.calls.clear()
    yield files
    Flaky.faults.clear()


PASSING = [TimeoutError("slow"), asyncio.TimeoutError(), ConnectionResetError("gone")]


@pytest.mark.parametrize("fault", [*PASSING, ServerDisconnectedError("busy")], ids=repr)
def test_other_stores_are_asked_three_times_in_all(flaky: Any, fault: Exception) -> None:
    Flaky.faults[:] = [fault, fault]
    assert flaky.cat_file("/a") == b"1"
    assert Flaky.calls == ["cat_file"] * 3
    Flaky.faults[:] = [fault] * 3
    with pytest.raises(StorageError, match=r"/a must be within reach, got .*; see that"):
        flaky.cat_file("/a")


@pytest.mark.parametrize("fault", [PermissionError("no"), OSError("disk full"), ValueError("x")])
def test_what_another_try_cannot_mend_is_told_at_once(flaky: Any, fault: Exception) -> None:
    Flaky.faults[:] = [fault]
    expected = ValueError if isinstance(fault, ValueError) else StorageError
    with pytest.raises(expected):
        flaky.cat_file("/a")
    assert Flaky.calls == ["cat_file"]


def test_what_may_not_happen_twice_is_not_repeated(flaky: Any) -> None:
    Flaky.faults[:] = [TimeoutError("slow")]
    with pytest.raises(StorageError):
        flaky.mv("/a", "/b")
    Flaky.faults[:] = [TimeoutError("slow")]
    with pytest.raises(StorageError):
        flaky.pipe_file("/c", b"1", mode="create")
    assert Flaky.calls == ["mv", "pipe_file"]


def test_urls_lose_their_secrets_also_in_the_words_of_the_store() -> None:
    with pytest.raises(StorageError) as raised, opening(f"s3://key:{SECRET}@bucket/a?sig={SECRET}"):
        raise RuntimeError(f"403, url='https://host/a?X-Amz-Signature={SECRET}'")
    assert SECRET not in "".join(traceback.format_exception(raised.value))
    assert "s3://bucket/a must" in str(raised.value)
    assert without_secrets("no url? yes") == "no url? yes"


@pytest.mark.parametrize("url", [f"s3://me:{SECRET}@bucket/a", f"gs://me%40x:{SECRET}@bucket/a"])
def test_keys_in_the_url_of_a_bucket_are_refused_before_anybody_is_told(url: str) -> None:
    """A store would take them for a part of the bucket's name, and repeat them in its errors."""
    for use in (open_filesystem, Profile.load, open_source, read_calls):
        with pytest.raises(ConfigError, match="must not hold keys") as raised:
            use(url)
        assert SECRET not in str(raised.value)
        assert raised.value.__cause__ is None


@pytest.mark.parametrize("tail", [f"?token={SECRET}", f"?X-Amz-Signature={SECRET}&x=1"])
def test_what_is_not_there_is_named_without_its_token(
    tail: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.bucket("tokens").env.items():
        monkeypatch.setenv(name, value)
    for use in (Profile.load, open_source):
        with pytest.raises(DataError) as raised:
            use(f"s3://tokens/a.parquet{tail}")
        assert SECRET not in "".join(traceback.format_exception(raised.value))
        assert "s3://tokens/a.parquet" in str(raised.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a.parquet", "s3://out-of-reach/a.parquet"])
def test_data_out_of_reach_are_not_called_missing(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StorageError, match=f"{re.escape(url)} must be within reach"):
        open_source(url)


def test_the_log_of_a_bucket_that_does_not_exist_is_not_empty(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.bucket("logs").env.items():
        monkeypatch.setenv(name, value)
    for read in (read_calls, read_spans):
        with pytest.raises(FileNotFoundError, match="s3://mistyped-logs"):
            read("s3://mistyped-logs/x")
        # a log that nobody has written to yet
        assert len(read("s3://logs/x")) == len(read(str(tmp_path / "new"))) == 0
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError, match="must be the folder of a log"):
        read_calls(str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"ftp://me:{SECRET}@host/x", "ftp://host/x"),
        (f"ftp://me:p@{SECRET}@host/x", "ftp://host/x"),
        (f"ftp://me:p/{SECRET}@host:21/x", "ftp://host:21/x"),
        (f"https://{SECRET}@host/x?token={SECRET}", "https://host/x"),
        ("http://host:8080/a@b", "http://host:8080/a@b"),
        ("s3://bucket/me@example.org/x", "s3://bucket/me@example.org/x"),
    ],
)
def test_a_url_is_shown_without_user_password_and_token(url: str, shown: str) -> None:
    assert without_secrets(f"see {url} there") == f"see {shown} there"


def test_a_file_that_a_server_does_not_have_is_named_without_its_token() -> None:
    with loopback(404) as port, pytest.raises(DataError) as raised:
        Profile.load(f"http://me:{SECRET}@127.0.0.1:{port}/p.json?token={SECRET}")
    assert SECRET not in "".join(traceback.format_exception(raised.value))
    assert f"http://127.0.0.1:{port}/p.json" in str(raised.value)


def test_an_error_of_storage_survives_a_pod_border() -> None:
    error = pickle.loads(pickle.dumps(StorageError("s3://b/a must be within reach")))
    assert str(error) == "s3://b/a must be within reach"


def test_data_that_cannot_be_reached_are_not_called_no_parquet(
    proxy: FaultyS3, bucket: Any
) -> None:
    proxy.fail("GET", *["AccessDenied"] * 9)
    with pytest.raises(StorageError, match=re.escape("s3://faulty")):
        open_source("s3://faulty/a", filesystem=bucket)


def test_a_store_that_lacks_a_setting_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    # fsspec's file systems live as long as the process, with the settings found first
    adlfs.AzureBlobFileSystem.clear_instance_cache()
    with pytest.raises(ConfigError, match="account_name"):
        open_filesystem("abfs://container/a")
