"""One way to open storage: which settings win, and which names a path may have."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs
from flytekit.configuration import DataConfig
from flytekit.core.data_persistence import FileAccessProvider, get_fsspec_storage_options
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon import Profile, profile_data
from flytekitplugins.wbmon.data.open import open_source
from flytekitplugins.wbmon.data.parquet_writer import PartWriter
from flytekitplugins.wbmon.errors import ConfigError, MissingExtraError, StorageError
from flytekitplugins.wbmon.flyte.filesystem import filesystem_of_task
from flytekitplugins.wbmon.llm import CallLog, read_calls
from flytekitplugins.wbmon.monitor.llm.calls.row import new_row
from flytekitplugins.wbmon.serving import PredictionLogger
from flytekitplugins.wbmon.storage.filesystem import open_filesystem, storage_options, write_file
from support.environment import clean_environment
from support.s3 import S3Server

ROWS = pa.table({"x": [1.0, 2.0, 3.0]})
# flytekit reads these as numbers, and uses none of them
NUMBERS = ["FLYTE_AWS_RETRIES", "FLYTE_AWS_BACKOFF_SECONDS"]
VARIABLES = [
    "FLYTE_AWS_ENDPOINT",
    "FLYTE_AWS_ACCESS_KEY_ID",
    "FLYTE_AWS_SECRET_ACCESS_KEY",
    "FLYTE_AWS_ADDRESSING_STYLE",
    "FLYTE_AWS_ENABLE_DEBUG",
    "FLYTE_GCP_GSUTIL_PARALLELISM",
    "FLYTE_AZURE_STORAGE_ACCOUNT_NAME",
    "FLYTE_AZURE_STORAGE_ACCOUNT_KEY",
    "FLYTE_AZURE_CLIENT_ID",
    "FLYTE_AZURE_CLIENT_SECRET",
    "FLYTE_AZURE_TENANT_ID",
]
VALUES = st.sampled_from(["", "7", "path"])
SET = st.fixed_dictionaries(
    {}, optional={**dict.fromkeys(VARIABLES, VALUES), **dict.fromkeys(NUMBERS, st.just("7"))}
)
# what no file can be called, and what this test cannot tell from its own folder's name
NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\\0", exclude_categories=["Cs"]),
    min_size=1,
    max_size=20,
).filter(lambda name: not name.startswith((".", "_")) and len(name.encode()) < 200)
ODD = [
    "a b",
    "100%",
    "a%20b",
    "what?",
    "#1",
    "a#b?c",
    "a::b",
    "[x]",
    "a*b",
    "ä",
    "{now}",
    "~",
    "a&b=c",
]


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    with mock.patch.dict(os.environ, variables):
        s3fs.S3FileSystem.clear_instance_cache()
        yield


@given(SET)
@settings(max_examples=200, deadline=None)
def test_the_variables_mean_what_they_mean_to_flytekit(variables: dict[str, str]) -> None:
    with mock.patch.dict(os.environ, variables):
        for protocol in ("s3", "gs", "abfs", "abfss"):
            theirs = get_fsspec_storage_options(protocol, DataConfig.auto())
            # a cache of its own, no setting of the user's
            theirs.pop("cache_regions", None)
            if theirs == {"anon": False}:
                theirs = {}  # without a setting of flytekit's, the store's own variables count
            assert storage_options(protocol) == theirs


def test_each_variable_of_flyte_wins_over_its_like_and_the_rest_is_left_to_boto3(
    s3: S3Server,
) -> None:
    wrong = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    s3.bucket("both-set")
    with environment(**{**s3.fsspec_env, **wrong, "FLYTE_AWS_ENDPOINT": s3.endpoint}):
        files, path = open_filesystem("s3://both-set/a")
        files.pipe_file(path, b"by the keys of AWS_*, at the endpoint of FLYTE_*")
        assert files.exists(path)
    with environment(**s3.flyte_env, **wrong):
        files, path = open_filesystem("s3://both-set/a")
        assert files.cat_file(path).startswith(b"by the keys")
        # as flytekit itself
        access = FileAccessProvider(Path.cwd(), "s3://both-set", data_config=DataConfig.auto())
        assert access.get_filesystem("s3").exists("s3://both-set/a")


def test_a_profile_of_boto3_is_enough(s3: S3Server, tmp_path: Path) -> None:
    s3.bucket("by-profile")
    (tmp_path / "credentials").write_text(
        "[night]\naws_access_key_id = loopback\naws_secret_access_key = loopback\n"
    )
    (tmp_path / "config").write_text(
        f"[profile night]\nregion = us-east-1\nendpoint_url = {s3.endpoint}\n"
    )
    with environment(
        AWS_PROFILE="night",
        AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "credentials"),
        AWS_CONFIG_FILE=str(tmp_path / "config"),
    ):
        files, path = open_filesystem("s3://by-profile/a")
        files.pipe_file(path, b"1")
        assert files.cat_file(path) == b"1"


def test_a_chain_of_file_systems_reaches_the_store_too(s3: S3Server, tmp_path: Path) -> None:
    s3.bucket("chained")
    with environment(**s3.flyte_env):
        files, path = open_filesystem("s3://chained/a")
        files.pipe_file(path, b"1")
        chained, inner = open_filesystem("simplecache::s3://chained/a")
        assert chained.cat_file(inner) == b"1"


@given(folder=NAMES, name=NAMES)
@settings(max_examples=60, deadline=None)
def test_any_name_on_the_disk_is_written_read_and_listed(folder: str, name: str) -> None:
    with TemporaryDirectory() as root:
        for form in ("{}", "file://{}"):
            files, path = open_filesystem(form.format(f"{root}/{folder}/{name}"))
            write_file(files, path, form.encode())
            assert (Path(root) / folder / name).read_bytes() == form.encode()
            assert files.cat_file(path) == form.encode()
            above, place = open_filesystem(form.format(f"{root}/{folder}/"))
            assert above.find(place) == [path]


@pytest.mark.parametrize("name", ODD)
def test_logs_data_and_profiles_may_have_odd_names(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    with PartWriter(str(folder / "data"), part_rows=10) as writer:
        writer.write(ROWS)
    assert open_source(str(folder / "data")).n_rows == 3
    assert pq.read_table(folder / "data" / "part-00000.parquet") == ROWS
    profile_data(str(folder / "data")).save(folder / "reference.profile")
    assert Profile.load(str(folder / "reference.profile")).n_rows == 3
    with CallLog(str(folder / "calls"), "ask") as log:
        log.log_call(new_row(gen_ai_request_model="house"))
    assert read_calls(str(folder / "calls"), service="ask").num_rows == 1


@pytest.mark.parametrize("name", ["a b", "100%", "what?", "#1", "[x]", "ä"])
def test_keys_in_a_bucket_may_be_odd_too(name: str, s3: S3Server) -> None:
    s3.bucket("odd-keys")
    with environment(**s3.flyte_env):
        url = f"s3://odd-keys/{name}"
        with PartWriter(f"{url}/data", part_rows=10) as writer:
            writer.write(ROWS)
        assert open_source(f"{url}/data/").n_rows == 3
        with CallLog(f"{url}/calls/", "ask") as log:
            log.log_call(new_row(gen_ai_request_model="house"))
        assert read_calls(f"{url}/calls", service="ask").num_rows == 1


def test_a_relative_path_a_home_and_a_link_lead_where_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for number, place in enumerate(["real", "./real/", "~/real", "link", str(tmp_path / "link")]):
        profile_data(ROWS).save(f"{place.rstrip('/')}/{number}")
        assert Profile.load(tmp_path / "real" / str(number)).n_rows == 3
        pq.write_table(ROWS, tmp_path / "real" / "rows.parquet")
        assert open_source(f"{place.rstrip('/')}/rows.parquet").n_rows == 3


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("s3://bucket/a/", "bucket/a"),
        ("s3://bucket", "bucket"),
        ("memory://a/b/", "/a/b"),
        ("/", "/"),
        ("file:///data/x/", "/data/x"),
        (Path("/data/x"), "/data/x"),
    ],
)
def test_a_path_has_no_protocol_and_no_slash_at_its_end(url: str | Path, path: str) -> None:
    assert open_filesystem(url)[1] == path


def test_the_file_system_of_the_caller_is_used(tmp_path: Path) -> None:
    given_by_caller = fsspec.filesystem("memory")
    files, path = open_filesystem(f"memory://{tmp_path.name}/a", filesystem=given_by_caller)
    files.pipe_file(path, b"1")
    assert given_by_caller.cat_file(f"/{tmp_path.name}/a") == b"1"
    assert open_filesystem("memory://a", filesystem=files)[0] is files


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftps3://key:secret@bucket/a?token=t", "'ftps3'; write ftp:// or sftp://"),
        ("S3://bucket/a", "'S3'; write s3://"),
        ("FILE:///a", "'FILE'; write file://"),
        (" s3://bucket/a", "' s3'; write s3://"),
        ("s4://bucket/a", "'s4'; write s3://"),
        ("://bucket/a", "''; install the package"),
        ("SIMPLECACHE::s3://bucket/a", "'SIMPLECACHE'; write simplecache://"),
        ("simplecache::S3://bucket/a", "'S3'; write s3://"),
        ("s3://bucket/a::b", "'b'; "),
        ("my disk://a", "begin a path with './'"),
    ],
)
def test_a_scheme_that_nobody_speaks_is_refused_alike_by_all(
    url: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    uses: list[Callable[[], object]] = [
        lambda: open_filesystem(url),
        lambda: profile_data(ROWS).save(url),
        lambda: Profile.load(url),
        lambda: open_source(url),
        lambda: PartWriter(url, part_rows=10),
        lambda: read_calls(url),
        lambda: CallLog(url, "ask"),
        lambda: PredictionLogger("api", url),
        lambda: filesystem_of_task(url),
    ]
    for use in uses:
        with pytest.raises(ConfigError) as refused:
            use()
        assert words in str(refused.value)
        assert "secret" not in str(refused.value)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["s3://b", "rel/s3://b", "rel/S3://b", "a::b/s3://c", "rel/x::y"])
def test_a_scheme_within_a_path_is_part_of_its_name(name: str, tmp_path: Path) -> None:
    for place in (f"{tmp_path}/{name}", f"file://{tmp_path}/{name}", f"local://{tmp_path}/{name}"):
        url = f"{place}/reference.profile"
        profile_data(ROWS).save(url)
        assert Profile.load(url).n_rows == 3
        with PartWriter(f"{place}/data{len(place)}", part_rows=10) as writer:
            writer.write(ROWS)
        assert open_source(f"{place}/data{len(place)}").n_rows == 3
        assert filesystem_of_task(url).exists(open_filesystem(url)[1])
        CallLog(f"{place}/calls", "ask").close()
    assert (tmp_path / name / "reference.profile").is_file()


def test_a_file_system_that_a_program_has_registered_is_known() -> None:
    with mock.patch.dict("fsspec.registry._registry", {"house": MemoryFileSystem}):
        assert type(open_filesystem("house://a")[0].copy.__self__) is MemoryFileSystem


def test_a_store_behind_a_chain_gets_no_keys_in_its_url() -> None:
    for url in ("simplecache::s3://key:secret@b/a", "zip://a::s3://key:secret@b/a.zip"):
        with pytest.raises(ConfigError, match="must not hold keys") as refused:
            open_filesystem(url)
        assert "secret" not in str(refused.value)


def test_a_task_refuses_a_chain_for_which_flytekit_has_no_settings() -> None:
    with pytest.raises(ConfigError, match="one URL, got simplecache::s3://b/a, which is a chain"):
        filesystem_of_task("simplecache::s3://b/a")


@pytest.mark.parametrize(
    ("module", "url"), [("s3fs", "s3://b/a"), ("gcsfs", "gs://b/a"), ("adlfs", "abfs://b/a")]
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    module: str, url: str, tmp_path: Path
) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from flytekitplugins.wbmon.errors import MissingExtraError\n"
        "from flytekitplugins.wbmon.storage.filesystem import open_filesystem\n"
        f"try: open_filesystem({url!r})\n"
        "except MissingExtraError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(home=tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{url} needs a package" in done.stdout
    assert f"run: pip install {module}" in done.stdout
    assert issubclass(MissingExtraError, ConfigError)


def test_opening_imports_neither_flytekit_nor_arrays_nor_a_store(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from flytekitplugins.wbmon.storage.filesystem import open_filesystem\n"
        "open_filesystem('a')\n"
        "print([n for n in ('flytekit', 'numpy', 'pyarrow', 's3fs', 'wandb') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(home=tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_errors_of_storage_are_caught_as_errors_of_the_system() -> None:
    assert issubclass(StorageError, OSError)
