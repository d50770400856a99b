"""A file of a profile may be damaged or made by somebody else: it is refused, cheaply."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon import DriftRule, Profile, check_drift, merge_profiles, profile_data
from flytekitplugins.wbmon.errors import ConfigError, DataError, StorageError, WbmonError
from flytekitplugins.wbmon.monitor.profiles import profile_file
from flytekitplugins.wbmon.monitor.profiles.profile_file import features_from_bytes
from flytekitplugins.wbmon.storage import record_file

STORED = Path(__file__).parents[3] / "reference" / "profiles"
FILES = {path.stem: path.read_bytes() for path in sorted(STORED.glob("*.profile"))}
NEW = "version_3"
SECOND = "version_2"
FIRST = sorted(FILES)
FILES[SECOND] = (STORED / SECOND / "kinds.profile").read_bytes()
EXAMPLES = int(os.environ.get("EXAMPLES", "300"))

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([-1, 0, 1, 2**31, 2**53 + 1, 2**63, 10**12, 10**30])
    | st.floats()
    | st.text()
    | st.sampled_from(["", "nan", "inf", "-0x1p+1", "0x1p+99999", "\ud800", "|O", "<M8[s]", "<f8"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


def of_every_kind() -> pa.Table:
    rng = random.Random(0)  # noqa: S311 - synthetic data
    rows = range(400)
    words = ["late", "order", "of", "a", "red", "shoe", "and", "broken", "box", "please", "help"]
    return pa.table(
        {
            "number": [None if i % 9 == 0 else rng.gauss(0, 1) for i in rows],
            "integer": [rng.randrange(10) for _ in rows],
            "boolean": [rng.random() < 0.3 for _ in rows],
            "categorical": [rng.choice(["de", "ä", "漢字", "😀"]) for _ in rows],
            "identifier": [f"id-{rng.randrange(10**9)}" for _ in rows],
            "timestamp": pa.array([10**15 + i * 10**9 for i in rows], pa.timestamp("us", "UTC")),
            "vector": [[rng.gauss(0, 1) for _ in range(4)] for _ in rows],
            "null": pa.nulls(400),
            "text": [" ".join(rng.choices(words, k=8)) + f" {i % 7}" for i in rows],
            "list": [rng.choices(["a", "b", "c"], k=i % 4) for i in rows],
            "struct": [{"x": rng.random(), "city": rng.choice(["Bonn", "Ulm"])} for _ in rows],
            "duration": pa.array([rng.randrange(9999) for _ in rows], pa.duration("s")),
            "size": [rng.choice(["S", "M", "L", "?"]) for _ in rows],
        }
    )


def made_now() -> bytes:
    profile = profile_data(
        of_every_kind(), kinds={"size": "S < M < L"}, missing_values={"categorical": ("de",)}
    )
    about = {name: getattr(profile, name) for name in ("n_rows", "layout", "weight", "at")}
    return profile_file.features_to_bytes(profile.features, **about)


FILES[NEW] = made_now()


def divided(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header, and the arrays without the checksum, which the first version does not have."""
    _, header, packed = content.split(b"\n", 2)
    described = json.loads(header)
    return described, packed if described["version"] == 1 else packed[:-4]


def joined(header: Any, packed: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    content = b"flytekitplugins-wbmon profile\n" + text + b"\n" + packed
    is_first = isinstance(header, dict) and header.get("version") == 1
    return content if is_first else profile_file.sealed(content)


def changed(change: Callable[[dict[str, Any]], Any], name: str = NEW) -> bytes:
    header, packed = divided(FILES[name])
    change(header)
    return joined(header, packed)


def feature(header: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in header["features"] if each["name"] == name)


def of(name: str, /, **fields: Any) -> bytes:
    return changed(lambda header: feature(header, name).update(fields))


def load(content: bytes) -> Profile:
    features, about = features_from_bytes(content, "a.profile")
    return Profile(features=features, **about)


def is_refused(content: bytes, match: str = "damaged profile") -> None:
    with pytest.raises(DataError, match=match):
        load(content)


def is_refused_or_usable(content: bytes) -> None:
    """What can be loaded can also be compared, merged and saved again."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            profile = load(content)
            report = check_drift(profile, profile)
            assert report.to_html()
            assert list(report.measurements())
            merged = merge_profiles([profile, profile])
            profile_file.features_to_bytes(
                merged.features, n_rows=0, layout=merged.layout, weight=merged.weight, at=""
            )
        except WbmonError:
            return


@pytest.fixture(params=sorted(FILES))
def stored(request: pytest.FixtureRequest) -> bytes:
    return FILES[request.param]


def test_a_file_of_the_second_version_is_read_and_windows_follow_its_layout() -> None:
    stored, now = load(FILES[SECOND]), load(FILES[NEW])
    vector = stored.features["vector"]

    assert vector.directions is None
    assert now.features["vector"].directions is not None
    assert len(vector.counts) == 32 * 129
    # the same table: other kinds of columns are as they were
    for name, each in stored.features.items():
        if name != "vector":
            assert load(FILES[NEW]).features[name].status == each.status
            assert check_drift(stored, of_every_kind(), rule=DriftRule(features=(name,)))

    window = profile_data(of_every_kind(), like=stored)

    assert window.layout == stored.layout
    assert len(window.features["vector"].counts) == 32 * 129
    report = check_drift(stored, window)
    assert report.features["vector"].effect_size == 0
    assert check_drift(stored, merge_profiles([window, stored])).features["vector"].status == "ok"


@pytest.mark.parametrize("name", FIRST)
def test_a_file_of_the_first_version_is_read(name: str) -> None:
    stored = FILES[name]
    profile = load(stored)

    assert profile.n_rows == 400
    assert [*profile.features] == [
        "number", "integer", "boolean", "categorical", "identifier", "timestamp", "vector", "null",
    ]  # fmt: skip
    assert profile.features["number"].n_missing == 45
    assert set(profile.features["categorical"].categories) == {"de", "ä", "漢字", "😀"}
    assert profile.features["vector"].dimension == 4
    assert {name: feature.kind for name, feature in profile.features.items()} == {
        "number": "number", "integer": "number", "boolean": "boolean", "categorical": "category",
        "identifier": "identifier", "timestamp": "time", "vector": "vector", "null": "empty",
    }  # fmt: skip
    assert len(check_drift(profile, profile).features) == 8
    is_refused_or_usable(stored)


def test_a_file_that_ends_anywhere_is_damaged(stored: bytes) -> None:
    for length in range(len(stored)):
        with pytest.raises(DataError, match=r"damaged profile|does not begin like one"):
            load(stored[:length])


@pytest.mark.parametrize("extra", [b"\0", b"\n", b"more"])
def test_nothing_may_follow(stored: bytes, extra: bytes) -> None:
    is_refused(stored + extra)


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(FILES)))
def test_any_bytes_may_be_others(data: st.DataObject, name: str) -> None:
    content = bytearray(FILES[name])
    places = st.integers(0, len(content) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    is_refused_or_usable(bytes(content))
    is_refused_or_usable(profile_file.sealed(bytes(content[:-4])))


def test_a_single_wrong_bit_is_noticed() -> None:
    content = FILES[NEW]
    for place in random.Random(0).sample(range(len(content)), 500):  # noqa: S311 - synthetic data
        wrong = bytearray(content)
        wrong[place] ^= 1 << place % 8
        with pytest.raises(DataError):
            load(bytes(wrong))


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(FILES)))
def test_any_field_may_hold_anything(data: st.DataObject, name: str) -> None:
    header, packed = divided(FILES[name])
    target = data.draw(st.sampled_from([header, *header["features"]]))
    key = data.draw(st.sampled_from(sorted(target)))
    if isinstance(target[key], (list, dict)) and target[key] and data.draw(st.booleans()):
        target = target[key]
        places = sorted(target) if isinstance(target, dict) else range(len(target))
        key = data.draw(st.sampled_from(places))
    # a value of another column is of the right type, and contradicts the rest
    others = [each[key] for each in header["features"] if isinstance(key, str) and key in each]
    target[key] = data.draw(st.sampled_from(others) | JSON if others else JSON)
    is_refused_or_usable(joined(header, packed))


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(FILES)))
def test_any_field_may_be_absent_or_unknown(data: st.DataObject, name: str) -> None:
    header, packed = divided(FILES[name])
    target = data.draw(st.sampled_from([header, *header["features"]]))
    if data.draw(st.booleans()):
        absent = data.draw(st.sampled_from(sorted(target.keys() - {"differing_pairs"})))
        del target[absent]
    else:
        target[data.draw(st.text().filter(lambda key: key not in target))] = 1
    is_refused(joined(header, packed))


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_field_of_another_version_is_unknown(name: str) -> None:
    known = {field for of in FILES for each in divided(FILES[of])[0]["features"] for field in each}
    for place, described in enumerate(divided(FILES[name])[0]["features"]):
        for field in known - described.keys():
            header, packed = divided(FILES[name])
            header["features"][place][field] = 1
            is_refused(joined(header, packed))


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.binary(max_size=400))
def test_any_arrays_may_follow(data: bytes) -> None:
    header, _ = divided(FILES[NEW])
    is_refused(joined(header, data))


NOT_WHOLE = [True, -1, 1.5, "1", None, 10**30, [1]]
NOT_FLOATS = [1.0, None, True, "", "x", "0x1p+99999", [], {}]


@pytest.mark.parametrize("value", NOT_WHOLE)
@pytest.mark.parametrize("field", ["n_rows", "n_missing", "n_infinite", "dimension"])
def test_numbers_of_rows_are_whole(field: str, value: Any) -> None:
    is_refused(of("number", **{field: value}), match=f"{field} of column 'number' must be a whole")


@pytest.mark.parametrize("value", NOT_FLOATS)
@pytest.mark.parametrize("field", ["minimum", "mean", "squared", "differing_pairs"])
def test_floats_are_hexadecimal_text(field: str, value: Any) -> None:
    is_refused(of("number", **{field: value}), match=f"{field} of column 'number' must be a float")


@pytest.mark.parametrize("version", [True, 1.5, "1", -1, 0, None, [1]])
def test_a_version_is_a_whole_number(version: Any) -> None:
    is_refused(changed(lambda header: header.update(version=version)), match="version must be")


@pytest.mark.parametrize("fields", [
    {"kind": "colour"}, {"kind": ["float"]}, {"kind": "vector"}, {"kind": "categorical"},
    {"kind": "null"}, {"status": "fine"}, {"status": None}, {"dtype": 1}, {"name": None},
    {"name": "integer"}, {"name": "\ud800"}, {"categories": ["a"]}, {"categories": "ab"},
    {"unseen": [["a", "0x1p+0"]]}, {"unseen": {"a": "-0x1p+0"}}, {"unseen": {"\ud800": "0x1p+0"}},
    {"weights": {}}, {"weights": {"rows": 1}}, {"n_missing": 401}, {"edges": None},
    {"counts": None}, {"edges": []}, {"edges": ["<f8", "<f8", 5]}, {"edges": "<f8"},
])  # fmt: skip
def test_a_column_that_no_profile_can_have_is_refused(fields: dict[str, Any]) -> None:
    is_refused(of("number", **fields))


@pytest.mark.parametrize("dtype", [
    "|O", "<U4", "|S8", "<M8[s]", "|b1", "<c16", "<f4", ">f8", "V8", "i8,i8", "|V1000000", "", None,
    1, ["<f8"],
])  # fmt: skip
def test_arrays_are_of_numbers(dtype: Any) -> None:
    header, _ = divided(FILES[NEW])
    _, stored, length = feature(header, "number")["edges"]
    is_refused(of("number", edges=[dtype, stored, length]))
    is_refused(of("number", edges=["<f8", dtype, length]))


@pytest.mark.parametrize("length", [True, -1, 1.5, "9", None, 10**12, 37 * 64 + 1, 2**63])
def test_arrays_are_no_longer_than_a_layout_makes_them(length: Any) -> None:
    is_refused(of("number", edges=["<f8", "<f8", length]), match="edges of column 'number' must be")


def with_arrays(name: str, **arrays: list[float]) -> bytes:
    """The file of one column, with other numbers in its arrays."""
    import numpy as np

    header, _ = divided(FILES[NEW])
    described = feature(header, name) | {"minimum": "nan", "maximum": "nan"}
    payload = b""
    for field in ("edges", "counts"):
        values = np.array(arrays[field], "<f8")
        described[field] = ["<f8", "<f8", len(values)]
        payload += values.tobytes()
    header.update(features=[described], payload_bytes=len(payload))
    return joined(header, pa.compress(payload, codec="zstd", asbytes=True) if payload else b"")


NAN, INF = float("nan"), float("inf")


def test_arrays_that_agree_are_read() -> None:
    assert load(with_arrays("number", edges=[1, 2], counts=[0, 1, 2, 3, 4])).features

    assert load(with_arrays("number", edges=[], counts=[0])).features


@pytest.mark.parametrize(
    ("edges", "counts", "match"),
    [
        ([1, 1], [0] * 5, "increase"),
        ([2, 1], [0] * 5, "increase"),
        ([NAN, 1], [0] * 5, "increase"),
        ([0, NAN, 1], [0] * 7, "increase"),
        ([NAN], [0] * 3, "increase"),
        ([0, INF], [0] * 5, "increase"),
        ([-INF, 0], [0] * 5, "increase"),
        ([1, 2], [0] * 4, "5 counts"),
        ([], [0] * 4, "1 counts"),
        ([1], [0, -1, 0], "finite counts"),
        ([1], [0, NAN, 0], "finite counts"),
        ([1], [0, INF, 0], "finite counts"),
        (list(range(1025)), [0] * 2051, "as many"),
    ],
)
def test_arrays_that_contradict_one_another_are_refused(
    edges: list[float], counts: list[float], match: str
) -> None:
    is_refused(with_arrays("number", edges=edges, counts=counts), match=match)


def test_names_are_different() -> None:
    double = changed(lambda h: h["features"].append(feature(h, "null")))

    is_refused(double, match="different names, got 'null' twice")
    is_refused(of("categorical", categories=["a", "a", "b", "c"]), match="different texts")


def test_what_is_claimed_is_not_allocated() -> None:
    bomb = pa.compress(bytes(2**27), codec="zstd", asbytes=True)
    header, _ = divided(FILES[NEW])
    true_size = header["payload_bytes"]

    is_refused(joined(header, bomb), match="ZSTD")
    for claimed in (10**12, 2**27, -1, 0, True, 1.5, "9", None, true_size + 1):
        header["payload_bytes"] = claimed
        is_refused(joined(header, bomb), match="payload_bytes must be")


HEADERS: dict[str, Callable[[], bytes]] = {
    "deep lists": lambda: b"[" * 10**6,
    "deep objects": lambda: b'{"a":' * 10**6,
    "nothing": lambda: b"",
    "a list": lambda: b"[]",
    "text": lambda: b'"x"',
    "null": lambda: b"null",
    "not a number": lambda: b'{"version": NaN}',
    "a long number": lambda: b'{"version": ' + b"9" * 10**6 + b"}",
    "invalid utf-8": lambda: b'{"version": 1, "\xff": 1}',
    "utf-16": lambda: '{"version": 1}'.encode("utf-16"),
    "a surrogate": lambda: b'{"version": 1, "\\ud800": 1}',
    "no features": lambda: b'{"version": 1}',
    "empty columns": lambda: json.dumps(
        divided(FILES[NEW])[0] | {"features": [{}] * 10**5}
    ).encode(),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_that_is_none_is_refused(kind: str) -> None:
    is_refused(joined(HEADERS[kind](), b""))
    # without an end
    is_refused(joined(HEADERS[kind](), b"")[:-1])


PATHS = [None, 1, 1.5, b"/tmp/a", ["a"], {"a": 1}, "", ".", "/", "\0", "a\0b", "\ud800"]


@pytest.mark.parametrize("path", PATHS, ids=ascii)
def test_what_is_no_path_of_a_file_is_refused(path: Any) -> None:
    with pytest.raises(DataError, match="a profile must be"):
        Profile.load(path)


def test_a_folder_an_empty_file_and_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()

    for name, match in (("", "directory"), ("empty", "does not begin"), ("none", "readable file")):
        with pytest.raises(DataError, match=match):
            Profile.load(tmp_path / name)
    with pytest.raises(DataError, match="readable file"):
        Profile.load(tmp_path / "empty" / "below")
    with pytest.raises(WbmonError):
        Profile.load(tmp_path / ("long" * 100))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(DataError, match="must be a file"):
            Profile.load(path)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("foo://x", ConfigError),
        ("://x", ConfigError),
        ("memory://nothing/there", DataError),
        ("http://127.0.0.1:1/a.profile", StorageError),
        ("http://nowhere.invalid/a.profile", StorageError),
        ("zip://a.profile::file:///nowhere.zip", WbmonError),
        ("zip://a.profile::memory://nowhere.zip", WbmonError),
        ("http://[", WbmonError),
        ("http://", WbmonError),
        ("data:,", WbmonError),
        ("data://,", WbmonError),
        ("s3://", WbmonError),
    ],
)
def test_a_url_that_leads_nowhere_is_an_error_of_ours(url: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        Profile.load(url)


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(record_file, "MAX_FILE_BYTES", len(FILES[NEW]))
    return len(FILES[NEW])


def test_a_file_that_is_too_long_is_not_read(small_limit: int, tmp_path: Path) -> None:
    (tmp_path / "fits").write_bytes(FILES[NEW])
    (tmp_path / "long").write_bytes(FILES[NEW] + b"\n")

    assert Profile.load(tmp_path / "fits").n_rows == 400
    with pytest.raises(DataError, match=f"at most {small_limit} bytes"):
        Profile.load(tmp_path / "long")


def test_a_profile_that_could_not_be_loaded_is_not_saved(
    small_limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = load(FILES[NEW])
    monkeypatch.setattr(profile_file, "MAX_FILE_BYTES", 100)

    with pytest.raises(DataError, match="profile fewer columns"):
        profile.save(tmp_path / "a")
    assert not (tmp_path / "a").exists()


# a process of its own, whose peak is that of loading alone; one case a process
MEASURED = """
import resource, sys
from flytekitplugins.wbmon import Profile
from flytekitplugins.wbmon.errors import DataError
Profile.load(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    Profile.load(sys.argv[2])
except DataError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def grown_kib(tmp_path: Path, path: Path) -> int:
    """KiB by which a process grows that is refused a file."""
    (tmp_path / "good").write_bytes(FILES[NEW])
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "good"), str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return int(found.stdout)


@pytest.mark.slow
def test_a_hostile_file_costs_little_memory(tmp_path: Path) -> None:
    header, _ = divided(FILES[NEW])
    bomb = pa.compress(bytes(2**28), codec="zstd", asbytes=True)
    header["payload_bytes"] = 10**12
    hostile = {
        "bomb": joined(header, bomb),
        "claim": joined(header | {"payload_bytes": 2**28}, bomb),
        "true claim": joined(divided(FILES[NEW])[0], bomb),
        "deep": joined(b"[" * 10**6, b""),
    }
    for name, content in hostile.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert grown_kib(tmp_path, path) < 32 * 1024, name
    endless = tmp_path / "endless"
    endless.write_bytes(b"flytekitplugins-wbmon profile\n")
    # sparse: gigabytes without a newline
    os.truncate(endless, 8 * 2**30)
    assert grown_kib(tmp_path, endless) < 8 * 1024
