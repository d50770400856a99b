"""Sessions are others every day; stores are not, and both are in many rows."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

from flytekitplugins.wbmon import DriftRule, check_drift, profile_data

SIZES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "alike": lambda rng, k: np.ones(k),
    "geometric": lambda rng, k: rng.exponential(1, k),
    "lognormal": lambda rng, k: rng.lognormal(0, 1, k),
}


def rows_of(names: list[str], n: int, *, seed: int, sizes: str = "alike") -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    weights = SIZES[sizes](rng, len(names))
    return pd.DataFrame({"x": rng.choice(names, n, p=weights / weights.sum())})


def sessions(n_rows: int, per_session: int, *, seed: int, sizes: str = "alike") -> pd.DataFrame:
    rng = np.random.default_rng(seed + 1000)
    names = [f"{number:015x}" for number in rng.integers(0, 2**59, n_rows // per_session)]
    return rows_of(names, n_rows, seed=seed, sizes=sizes)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    ("n", "m", "per_session"),
    [(500, 500, 5), (2000, 300, 5), (2000, 1200, 12), (2000, 300, 20), (20_000, 5000, 40)],
)
def test_sessions_of_many_rows_are_told_and_are_no_drift(sizes, n, m, per_session):
    before = sessions(n, per_session, seed=1, sizes=sizes)
    now = sessions(m, per_session, seed=2, sizes=sizes)

    for reference in (before, profile_data(before)):
        report = check_drift(reference, now)
        assert report.verdict == "ok"
        assert "past windows (past=) tell whether that is usual" in report.features["x"].reason


STORES = [f"store {i:03d}" for i in range(200)]
OTHERS = {
    "in upper case": [name.upper() for name in STORES],
    "of another word": [name.replace("store", "shop") for name in STORES],
    "of another format": [name.replace(" ", "-") for name in STORES],
    "with letters": [f"{name}b" for name in STORES],
    "few": [f"store {i}" for i in range(700, 710)],
    "one": ["store 999"],
    "a quarter kept": [*STORES[:50], *(f"store {i}" for i in range(500, 650))],
}


@pytest.mark.parametrize("others", OTHERS)
def test_categories_of_another_form_or_in_fewer_values_are_drift(others):
    before = rows_of(STORES, 4000, seed=1)
    now = rows_of(OTHERS[others], 1000, seed=2)

    for reference in (before, profile_data(before)):
        assert check_drift(reference, now).verdict == "drift"


REPLACED = [f"store {i}" for i in range(500, 700)]


def test_declared_or_few_categories_that_were_all_replaced_are_drift():
    before, now = rows_of(STORES, 4000, seed=1), rows_of(REPLACED, 1000, seed=2)

    assert check_drift(before, now).verdict == "ok"
    assert check_drift(before, now, rule=DriftRule(kinds={"x": "category"})).verdict == "drift"
    assert check_drift(profile_data(before, kinds={"x": "category"}), now).verdict == "drift"
    few = rows_of(STORES[:50], 4000, seed=1), rows_of(REPLACED[:50], 1000, seed=2)
    assert check_drift(*few).verdict == "drift"


def test_past_windows_know_whether_categories_are_others_every_day():
    stores = profile_data(rows_of(STORES, 4000, seed=1))
    past = [profile_data(rows_of(STORES, 1000, seed=10 + i), like=stores) for i in range(6)]
    now = rows_of(REPLACED, 1000, seed=2)
    assert check_drift(stores, now, past=past).verdict == "drift"

    daily = profile_data(sessions(4000, 8, seed=1))
    past = [profile_data(sessions(1000, 8, seed=10 + i), like=daily) for i in range(6)]
    assert check_drift(daily, sessions(1000, 8, seed=2), past=past).verdict == "ok"


CODES: dict[str, Callable[[np.random.Generator], str]] = {
    # of hexadecimal digits, a run of letters before any digit is a word by chance
    "hexadecimal": lambda rng: rng.bytes(3).hex(),
    "uuid": lambda rng: str(UUID(bytes=rng.bytes(16))),
    "base64": lambda rng: urlsafe_b64encode(rng.bytes(16)).decode().rstrip("="),
}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("n", "m", "per_session"), [(5000, 5000, 3), (6000, 3000, 6)])
def test_words_of_repeated_identifiers_are_not_as_many_as_their_rows(code, n, m, per_session):
    def day(seed: int, n_rows: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        sizes = rng.geometric(1 / per_session, n_rows)
        names = [CODES[code](rng) for _ in range(n_rows)]
        return pd.DataFrame({"x": np.repeat(names, sizes)[:n_rows]})

    reports = [check_drift(day(seed, n), day(seed + 100, m)) for seed in range(10)]

    assert sum(report.verdict != "ok" for report in reports) <= 1
    upper = day(3, m)
    upper["x"] = upper["x"].str.upper() if code != "base64" else upper["x"].str[:-4]
    assert check_drift(day(2, n), upper).verdict == "drift"
