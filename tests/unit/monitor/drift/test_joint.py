from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats as scipy_stats
from scipy.signal import lfilter
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.monitor.drift.joint import _frequency_codes, check_joint_drift
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule


def pair(seed: int, *, correlation: float = 0.8, n: int = 3000) -> pd.DataFrame:
    """Two columns that rise together, or apart, and look the same alone; and three bystanders."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = correlation * x + np.sqrt(1 - correlation**2) * rng.normal(size=n)
    frame = pd.DataFrame({"x": x, "y": y, "noise": rng.normal(size=n)})
    frame["kind"] = rng.choice(["a", "b", None], n)
    frame["flag"] = rng.random(n) < 0.5
    frame.loc[::50, "noise"] = np.nan
    return frame


def test_windows_of_one_distribution_cannot_be_told_apart():
    found = check_joint_drift(pair(1), pair(2))

    assert found.level == "none"
    assert not found.drifted
    assert found.auc == pytest.approx(0.5, abs=0.04)
    assert found.low < 0.5 < found.high
    assert "cannot tell the windows apart" in found.reason


def test_columns_that_no_longer_rise_together_are_found():
    reference, current = pair(1), pair(2, correlation=-0.8)

    alone = check_drift(reference, current)
    together = check_joint_drift(reference, current)

    assert alone.verdict == "ok"
    assert together.drifted
    assert together.auc > 0.8
    assert together.low > 0.75
    assert set(list(together.contributions)[:2]) == {"x", "y"}
    assert "most by" in together.reason


def sides(n: int) -> tuple[list[int], list[int], list[int]]:
    """Rows that train, rows that test, and the quarters of blocks of the latter."""
    trained, tested, quarters = [], [], []
    for row in range(n):
        place = Fraction(2 * row + 1, 2 * n) * 10
        within = place % 1
        if int(place) % 2 == 0:
            trained.append(row)
        elif Fraction(1, 10) <= within <= Fraction(9, 10):
            tested.append(row)
            quarters.append((int(place), min(3, int((within - Fraction(1, 10)) * 5))))
    return trained, tested, quarters


def by_sklearn(reference: np.ndarray, current: np.ndarray, columns: dict[str, list[int]]):
    """What the docstring says: trees fitted on every second block, tested on those between."""
    n = len(reference)
    rows = np.vstack((reference, current))
    label = np.repeat([0, 1], (n, len(current)))
    (fit_a, test_a, block_a), (fit_b, test_b, block_b) = sides(n), sides(len(current))
    fit = [*fit_a, *(n + row for row in fit_b)]
    test = [*test_a, *(n + row for row in test_b)]
    trees = HistGradientBoostingClassifier(
        max_iter=50, max_leaf_nodes=15, early_stopping=False, random_state=0
    )
    with threadpool_limits(1):
        trees.fit(rows[fit], label[fit])
        unseen, truth = rows[test], label[test]
        score = trees.predict_proba(unseen)[:, 1]
        auc = roc_auc_score(truth, score)
        rng, lost = np.random.default_rng(0), {}
        for name, mine in columns.items():
            shuffled = unseen.copy()
            shuffled[:, mine] = unseen[rng.permutation(len(unseen))][:, mine]
            lost[name] = auc - roc_auc_score(truth, trees.predict_proba(shuffled)[:, 1])
    p_value = over_blocks(score[truth == 1], score[truth == 0], block_b, block_a, auc)
    return auc, p_value, lost


def over_blocks(now, before, block_now, block_before, auc) -> float:
    """A rank test with the variance of sums over quarters of blocks, by comparing all pairs."""
    won = (now[:, None] > before) + 0.5 * (now[:, None] == before)
    m, n = won.shape
    of_rows, of_blocks, sizes = [], [], []
    for part, block in (
        ((won.mean(axis=1) - auc) / m, block_now),
        ((won.mean(axis=0) - auc) / n, block_before),
    ):
        of_rows.append((part**2).sum() * len(part) / (len(part) - 1))
        sums = dict.fromkeys(block, 0.0)
        for each, one in zip(block, part, strict=True):
            sums[each] += one
        assert len(sums) == 20
        # Kish's number of equal quarters: of few rows some have one more than others
        k = len(block) ** 2 / sum(block.count(each) ** 2 for each in sums)
        of_blocks.append(sum(each**2 for each in sums.values()) * k / (k - 1))
        sizes.append(k)
    design_effect = sum(of_blocks) / sum(of_rows)
    terms = sum(each**2 / (k - 1) for each, k in zip(of_blocks, sizes, strict=True))
    freedom = sum(of_blocks) ** 2 / terms
    z = (auc - 0.5) / np.sqrt(design_effect * (n + m + 1) / (12 * n * m))
    return float(scipy_stats.t.sf(z, freedom))


@pytest.mark.parametrize("n", [(2000, 1501), (150, 120), (12_000, 12_000)])
def test_the_answer_is_that_of_trees_and_a_rank_test_over_blocks(n):
    rng = np.random.default_rng(7)
    before, now = (rng.normal(size=(rows, 3)) for rows in n)
    now[:, 2] += 0.3
    names = {"a": [0], "b": [1], "c": [2]}
    rule = DriftRule(alpha=0.9, warn_effect=1e-9, min_effect=1e-9)

    found = check_joint_drift(
        *(pd.DataFrame(x, columns=list(names)) for x in (before, now)), rule=rule
    )

    auc, p_value, lost = by_sklearn(before, now, names)
    assert (found.n_reference, found.n_current) == n
    assert found.auc == pytest.approx(auc)
    assert found.effect_size == pytest.approx(2 * auc - 1)
    assert found.p_value == pytest.approx(p_value, rel=1e-6)
    assert found.contributions == pytest.approx(lost)
    assert list(found.contributions) == sorted(lost, key=lambda name: -lost[name])


def test_a_vector_is_shuffled_as_one_column():
    rng = np.random.default_rng(8)
    before, now = rng.normal(size=(600, 4)), rng.normal(size=(600, 4))
    now[:, 1:] += 0.2

    def table(values: np.ndarray) -> pa.Table:
        vectors = pa.array(values[:, 1:].tolist(), pa.list_(pa.float64(), 3))
        return pa.table({"a": values[:, 0], "v": vectors})

    found = check_joint_drift(table(before), table(now), rule=DriftRule(alpha=0.9))

    auc, _, lost = by_sklearn(before, now, {"a": [0], "v": [1, 2, 3]})
    assert found.auc == pytest.approx(auc)
    assert found.contributions == pytest.approx(lost)


def test_the_effect_decides_between_the_levels_and_a_limit_counts():
    before, now = pair(1), pair(2, correlation=0.6)
    effect = check_joint_drift(before, now).effect_size
    assert 0.05 < effect < 0.9

    def level(**limits: float) -> str:
        return check_joint_drift(before, now, rule=DriftRule(**limits)).level

    assert level(min_effect=effect, warn_effect=0.01) == "drift"
    assert level(min_effect=1.0, warn_effect=effect) == "warning"
    assert level(min_effect=1.0, warn_effect=effect * 1.001) == "negligible"
    p_value = check_joint_drift(before, pair(3)).p_value
    rules = [DriftRule(alpha=alpha, warn_effect=1e-9) for alpha in (p_value, p_value * 0.999)]
    levels = [check_joint_drift(before, pair(3), rule=rule).level for rule in rules]
    assert levels[0] != "none"
    assert levels[1] == "none"


def test_at_most_twenty_thousand_rows_of_a_window_are_used():
    all_are_used, every_second = (pd.DataFrame({"x": np.arange(20_000.0 + i)}) for i in (0, 1))
    found = check_joint_drift(all_are_used, every_second)
    assert (found.n_reference, found.n_current) == (20_000, 10_001)


def test_a_window_may_have_as_few_rows_as_the_rule_says():
    rule = DriftRule(min_rows=100)
    assert not np.isnan(check_joint_drift(pair(1, n=100), pair(2, n=100), rule=rule).auc)
    assert np.isnan(check_joint_drift(pair(1, n=99), pair(2, n=100), rule=rule).auc)


def test_integers_of_different_widths_are_one_column():
    rng = np.random.default_rng(3)
    before, now = (rng.integers(0, 100, 500) for _ in range(2))
    found = check_joint_drift(pa.table({"x": before.astype(np.int8)}), pa.table({"x": now}))
    assert found.level == "none"
    moved = check_joint_drift(pa.table({"x": before.astype(np.int8)}), pa.table({"x": now + 50}))
    assert moved.drifted


def test_one_column_or_the_two_most_telling_ones_are_named():
    before = pd.DataFrame({"x": np.arange(500.0)})
    assert check_joint_drift(before, before + 400).reason.endswith("most by x")
    reason = check_joint_drift(pair(1), pair(2, correlation=-0.8)).reason
    assert reason.endswith(("most by x and y", "most by y and x"))


def test_of_two_columns_both_are_named():
    before, now = (pair(seed, correlation=c)[["x", "y"]] for seed, c in ((1, 0.8), (2, -0.8)))
    assert check_joint_drift(before, now).reason.endswith(("most by x and y", "most by y and x"))


def test_what_a_column_holds_is_what_it_holds_in_the_reference():
    unique = pd.DataFrame({"c": [f"id{i}" for i in range(500)]})
    few = pd.DataFrame({"c": ["a", "b"] * 250})
    with pytest.raises(DataError, match="found none among 'c'"):
        check_joint_drift(unique, few)


def test_categories_are_coded_by_frequency_up_to_the_two_hundred_and_fiftieth():
    # category 299 is the most frequent; 0 and 1 are equally rare
    times = np.maximum(np.arange(300), 1)
    codes = np.repeat(np.arange(300), times)
    names = [f"c{i}" for i in range(300)]
    found = _frequency_codes(names, codes)
    ranks = {int(category): set(found[codes == category].tolist()) for category in range(300)}
    assert ranks == {category: {min(299 - category, 250)} for category in range(300)}
    # equally frequent ones in an order that has nothing to do with that of their appearance; odd
    # ones occur twice, even ones once
    mixed = np.concatenate((np.arange(250), np.arange(1, 250, 2)))
    found = _frequency_codes(names[:250], mixed)
    ranks = [found[mixed == category][0] for category in range(250)]
    assert sorted(ranks[1::2]) == list(range(125))
    assert sorted(ranks[0::2]) == list(range(125, 250))
    for rare in (ranks[0::2], ranks[1::2]):
        assert abs(scipy_stats.spearmanr(rare, np.arange(125)).statistic) < 0.25


def test_categories_beyond_the_two_hundred_and_fiftieth_share_a_code():
    # 249 common names, then rare ones that are others in each window
    common = [f"c{i}" for i in range(249)]

    def window(rare: list[str]) -> pd.DataFrame:
        return pd.DataFrame({"c": np.random.default_rng(0).permutation(common * 8 + rare)})

    same = check_joint_drift(
        window([f"a{i}" for i in range(400)]), window([f"b{i}" for i in range(400)])
    )
    assert same.level == "none"
    assert check_joint_drift(window(["x"] * 400), window(["y"] * 400)).drifted


def test_folder_names_are_used_where_they_are_named(tmp_path):
    def days(name: str, regions: tuple[str, ...]) -> str:
        for at, region in enumerate(regions):
            folder = tmp_path / name / f"region={region}"
            folder.mkdir(parents=True)
            pair(at, n=300).to_parquet(folder / "part.parquet")
        return str(tmp_path / name)

    before, now = days("before", ("EU", "US")), days("now", ("JP", "CN"))
    assert check_joint_drift(before, now).level == "none"
    assert check_joint_drift(before, now, columns=["region", "x"]).drifted
    in_rows = pair(1, n=600).assign(region="EU")
    assert check_joint_drift(in_rows, now).level == "none"
    assert check_joint_drift(now, in_rows).level == "none"


def test_a_category_that_moved_is_found():
    rng = np.random.default_rng(0)
    reference = pd.DataFrame({"c": rng.choice(["a", "b", "c"], 2000)})
    current = pd.DataFrame({"c": rng.choice(["a", "b", "c"], 2000, p=[0.6, 0.2, 0.2])})

    found = check_joint_drift(reference, current)

    assert found.drifted
    assert list(found.contributions) == ["c"]


def test_vectors_are_looked_at_as_a_whole():
    rng = np.random.default_rng(0)

    def embeddings(shift: float) -> pa.Table:
        values = rng.normal(size=(1500, 8))
        values[:, 3] += shift
        return pa.table({"e": pa.array([None, *values.tolist()], pa.list_(pa.float32(), 8))})

    assert check_joint_drift(embeddings(0), embeddings(1.0)).drifted
    assert check_joint_drift(embeddings(0), embeddings(0)).level == "none"


def test_false_alarms_are_no_more_frequent_than_alpha():
    rng = np.random.default_rng(0)
    windows = [pd.DataFrame(rng.normal(size=(300, 3)), columns=list("abc")) for _ in range(40)]
    rule = DriftRule(min_effect=1e-9, warn_effect=1e-9)

    alarms = [
        check_joint_drift(a, b, rule=rule).drifted
        for a, b in zip(windows[:20], windows[20:], strict=True)
    ]

    assert np.mean(alarms) <= 0.15


def test_a_small_difference_is_called_negligible():
    rng = np.random.default_rng(0)
    reference, current = rng.normal(size=20_000), rng.normal(0.15, 1, 20_000)
    rule = DriftRule(min_effect=0.5, warn_effect=0.3)

    found = check_joint_drift(
        pd.DataFrame({"x": reference}), pd.DataFrame({"x": current}), rule=rule
    )

    assert found.level == "negligible"
    assert "too small to matter" in found.reason


def test_only_so_many_rows_are_used_and_the_answer_is_always_the_same():
    reference, current = pair(1), pair(2)

    first = check_joint_drift(reference, current, max_rows=1000)

    assert (first.n_reference, first.n_current) == (1000, 1000)
    assert first == check_joint_drift(reference, current, max_rows=1000)


def test_too_few_rows_give_no_answer():
    found = check_joint_drift(pair(1), pair(2, n=20))

    assert np.isnan(found.auc)
    assert found.level == "none"
    assert "too few rows" in found.reason
    assert np.isnan(check_joint_drift(pair(1)[:0], pair(2)).auc)


def test_columns_that_are_not_shared_are_refused_or_left_out():
    reference = pair(1).assign(only=1.0, other="text")
    current = pair(2).assign(other=1.0)

    assert check_joint_drift(reference, current).level == "none"
    for windows in ((reference, current), (current, reference)):
        with pytest.raises(DataError, match="columns must name columns"):
            check_joint_drift(*windows, columns=["only"])
    with pytest.raises(DataError, match="found none among 'other'"):
        check_joint_drift(reference, current, columns=["other"])


def test_names_may_come_from_parquet_a_frame_or_a_categorical(tmp_path):
    rng = np.random.default_rng(5)
    names = pd.DataFrame({"c": rng.choice(["a", "b"], 1000), "x": rng.normal(size=1000)})
    names.to_parquet(tmp_path / "names.parquet")
    others = names.assign(c=names["c"].replace("a", "c").astype("category"))

    assert check_joint_drift(tmp_path / "names.parquet", names).level == "none"
    found = check_joint_drift(tmp_path / "names.parquet", others)

    assert found.level == "drift"
    assert next(iter(found.contributions)) == "c"


def alike(rng: np.random.Generator, how: str, n: int = 500) -> pd.DataFrame:
    """A window of one distribution whose rows are not independent."""
    size = {"each row twice": 2, "sessions of five": 5}.get(how, 1)
    rows = np.repeat(rng.normal(size=(n // size, 4)), size, axis=0)
    if how == "a slow series":
        rows = lfilter([np.sqrt(1 - 0.8**2)], [1, -0.8], rng.normal(size=(n + 50, 4)), axis=0)[50:]
    return pd.DataFrame(rows + 0.01 * rng.normal(size=rows.shape), columns=list("abcd"))


@pytest.mark.parametrize("how", ["each row twice", "sessions of five", "a slow series"])
def test_rows_that_are_like_their_neighbours_are_no_drift(how):
    """When every second row trained, all of these windows were told apart."""
    rng = np.random.default_rng(12)
    found = [check_joint_drift(alike(rng, how), alike(rng, how)) for _ in range(40)]

    assert np.mean([each.p_value <= 0.05 for each in found]) <= 0.15
    assert np.mean([each.auc for each in found]) == pytest.approx(0.5, abs=0.03)


def sessions(rng: np.random.Generator, n: int = 120, *, since: int = 0) -> pd.DataFrame:
    """Sessions of five rows that take turns."""
    rows = rng.normal(size=(n, 4))
    place = rng.permutation(np.repeat(np.arange(n), 5))
    frame = pd.DataFrame(rows[place] + 0.01 * rng.normal(size=(5 * n, 4)), columns=list("abcd"))
    return frame.assign(session=[f"s{since + each}" for each in place])


def test_scattered_sessions_are_drift_unless_their_column_is_named():
    rng = np.random.default_rng(4)
    pairs = [(sessions(rng), sessions(rng, since=1000)) for _ in range(30)]

    apart = [check_joint_drift(a, b, group="session") for a, b in pairs]
    blind = [check_joint_drift(a[list("abcd")], b[list("abcd")]) for a, b in pairs[:5]]

    assert all(each.drifted for each in blind)
    assert np.mean([each.p_value <= 0.05 for each in apart]) <= 0.15
    assert np.mean([each.auc for each in apart]) == pytest.approx(0.5, abs=0.03)


def test_a_change_between_groups_is_found():
    rng = np.random.default_rng(5)
    before, now = sessions(rng), sessions(rng, since=1000)

    found = check_joint_drift(before, now.assign(c=now["c"] + 1.5), group="session")

    assert found.drifted
    assert next(iter(found.contributions)) == "c"
    assert "session" not in found.contributions


def test_the_group_is_a_column_of_the_classifier_only_if_it_is_named():
    rng = np.random.default_rng(6)
    users = [f"u{i}" for i in range(20)]
    before, now = (pd.DataFrame({"user": users * 30, "x": rng.normal(size=600)}) for _ in range(2))

    now["x"] += 2.0
    named = check_joint_drift(before, now, columns=["user", "x"], group="user")

    assert set(check_joint_drift(before, now, group="user").contributions) == {"x"}
    assert set(named.contributions) == {"user", "x"}


def test_rows_without_a_group_are_groups_of_their_own():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(2, 300))
    lone = [[None, "", "  "][i % 3] for i in range(300)]
    unique = [f"r{i}" for i in range(300)]

    missing, named = (
        check_joint_drift(
            pd.DataFrame({"x": x[0], "g": group}),
            pd.DataFrame({"x": x[1], "g": [name and name + suffix for name in group]}),
            group="g",
        )
        for group, suffix in ((lone, ""), (unique, "b"))
    )

    assert missing == named
    assert not np.isnan(missing.auc)


def test_groups_are_one_whatever_holds_their_names():
    rng = np.random.default_rng(8)
    x, user = rng.normal(size=600), rng.integers(0, 60, 600)
    y = rng.normal(size=600)
    numbers = pd.DataFrame({"x": y, "user": user})
    texts = pd.DataFrame({"x": y, "user": [str(each) for each in user]})
    before = pd.DataFrame({"x": x, "user": user})

    assert check_joint_drift(before, numbers, group="user") == check_joint_drift(
        before, texts, group="user"
    )


@pytest.mark.parametrize("n_groups", [1, 5, 8])
def test_too_few_groups_give_no_answer(n_groups):
    rng = np.random.default_rng(9)
    few = pd.DataFrame({"x": rng.normal(size=300), "g": np.arange(300) % n_groups})
    many = pd.DataFrame({"x": rng.normal(size=300), "g": 1000 + np.arange(300)})

    for windows in ((few, many), (many, few)):
        found = check_joint_drift(*windows, group="g")
        assert np.isnan(found.auc)
        assert found.level == "none"
        assert found.reason.startswith("too few groups: 5 of each window are needed among")


def test_a_group_that_cannot_be_one_is_refused():
    frame = pair(1, n=200).assign(tags=[["a"]] * 200)
    with pytest.raises(DataError, match="group must name columns of the data, but 'sesion' is not"):
        check_joint_drift(frame, frame, group="sesion")
    with pytest.raises(DataError, match=r"rows are grouped by text.*'tags' holds list"):
        check_joint_drift(frame, frame, group="tags")


@pytest.mark.parametrize("kind", ["text", "category"])
def test_rare_categories_of_independent_rows_are_no_difference(kind: str):
    """In the order of their appearance the reference's rare names come before the window's."""
    found = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        before, now = (
            pd.DataFrame({"c": [f"v{k}" for k in rng.zipf(1.5, n)], "e": rng.normal(size=n)})
            for n in (1000, 900)
        )
        if kind == "category":
            before, now = (each.astype({"c": "category"}) for each in (before, now))
        found.append(check_joint_drift(before, now).p_value <= 0.05)
    # nominal 5 %, and three Monte-Carlo errors
    assert sum(found) <= 5


@pytest.mark.parametrize("n_known", [0, 40])
def test_a_column_that_is_all_but_empty_leaves_the_others_to_be_judged(n_known: int):
    rng = np.random.default_rng(6)
    before, now = (
        pd.DataFrame(
            {"x": rng.normal(size=500), "y": np.r_[np.full(500 - n_known, np.nan), [1.0] * n_known]}
        )
        for _ in range(2)
    )
    assert check_joint_drift(before, now).level == "none"
    moved = check_joint_drift(before, now.assign(x=now["x"] + 2))
    assert moved.drifted
    assert next(iter(moved.contributions)) == "x"


@pytest.mark.parametrize("max_rows", [0, -1, 2.5, None])
def test_a_number_of_rows_that_is_none_is_refused(max_rows: object):
    frame = pd.DataFrame({"x": np.arange(100.0)})
    with pytest.raises(ConfigError, match="max_rows must be a whole number of at least 1"):
        check_joint_drift(frame, frame, max_rows=max_rows)
