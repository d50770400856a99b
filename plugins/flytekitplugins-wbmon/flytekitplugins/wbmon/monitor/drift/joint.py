"""Drift in the joint distribution, detected by a classifier (a classifier two-sample test).

If the correlation of two columns changes, the distribution of each can stay the same. A classifier
is trained on about half of the rows to predict the window of a row. If it succeeds on others, the
windows differ, and its AUC measures how much. This needs the rows, not only profiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flytekitplugins.wbmon.arguments import listed_columns, require_whole
from flytekitplugins.wbmon.data.arrow import dense_numbers, is_valid
from flytekitplugins.wbmon.data.groups import is_scalar, named_groups
from flytekitplugins.wbmon.data.names import encode_names
from flytekitplugins.wbmon.data.objects import value_type
from flytekitplugins.wbmon.data.open import Data, open_values
from flytekitplugins.wbmon.data.plain import PlainSource
from flytekitplugins.wbmon.data.systematic_sample import spread_rows
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.drift.joint_report import JointDrift
from flytekitplugins.wbmon.monitor.drift.joint_split import (
    N_BLOCKS,
    Split,
    split_by_blocks,
    split_by_groups,
)
from flytekitplugins.wbmon.monitor.drift.report import Level
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.profiles.build import unknown_columns
from flytekitplugins.wbmon.monitor.profiles.count import read_layout
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile, name_hash
from flytekitplugins.wbmon.monitor.profiles.layout import can_count
from flytekitplugins.wbmon.monitor.profiles.learn import learn_kind
from flytekitplugins.wbmon.monitor.profiles.vectors import vectors_of
from flytekitplugins.wbmon.names import listed_names, quoted_name, shown_name
from flytekitplugins.wbmon.stats.arrays import Matrix
from flytekitplugins.wbmon.stats.boosted_trees import trainable
from flytekitplugins.wbmon.stats.ranking import rank_test, roc_auc

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

_LEAST_GROUPS = 5  # of a window on the tested side: fewer do not tell how much groups differ
_MAX_CODES = 250
_TESTED = ("number", "duration", "boolean", "category", "vector")


def check_joint_drift(
    reference: Data,
    current: Data,
    *,
    columns: Sequence[str] | None = None,
    rule: DriftRule | None = None,
    max_rows: int = 20_000,
    group: str = "",
) -> JointDrift:
    """Test whether a classifier can distinguish the rows of the two windows, and by which columns.

    Each window is divided into ten blocks of successive rows. Those of five train a gradient
    boosting classifier, those of the five between are scored but for a tenth of a block at either
    end. The AUC of the scores is tested with its variance over the quarters of these blocks, which
    takes quarters for independent, not rows: rows may be like those near to them, as repeated
    events, the turns of a session and the values of a sensor are. They must be in their order.

    Rows that are alike but scattered over the window, such as sessions that take turns, are found
    on both sides, and the classifier recognises them: drift is then found without any. Name what
    such rows share in `group`: each group trains or is scored as a whole, in both windows, and
    groups are taken for independent.

    Args:
        reference: Data of the reference window, in any form `profile_data` accepts; not a profile.
        current: Data of the current window, in any form `profile_data` accepts; not a profile.
        columns: Columns that the classifier uses; by default every column of numbers, vectors,
            booleans or categories that both windows have with the same type.
        rule: Its `alpha`, `min_effect`, `warn_effect` and `min_rows` are used.
        max_rows: Maximum number of rows of each window, taken at regular intervals.
        group: The column whose value alike rows share, such as that of the session or the user; it
            is not used to tell the windows apart, unless `columns` names it. A row without a value
            is a group of its own, times are one group a day. Empty: rows may only be like near
            ones.

    Returns:
        The AUC with its interval, and the contribution of each column.

    Raises:
        ConfigError: If `columns` is no sequence, or `max_rows` no number of rows.
        DataError: If the data cannot be read, a column does not exist in both windows, `group`
            holds lists or structs, or there is no column to use.
    """
    rule = rule or DriftRule()
    group = str(group)
    require_whole("max_rows", max_rows, 1)
    columns = None if columns is None else listed_columns("columns", columns)
    named = [*(columns or ()), group]
    sources = open_values(reference, naming=named), open_values(current, naming=named)
    n, m = (source.n_rows for source in sources)
    if n == 0 or m == 0:
        # what has no row need not have the columns that nobody could fill
        which = "window" if m == 0 else "reference"
        return _no_answer(n or 0, m or 0, f"the {which} has no rows")
    names = _columns(sources, columns, group)
    layouts = [_layout(sources[0], name) for name in names]
    read = list(dict.fromkeys([*names, *([group] if group else [])]))
    tables = [spread_rows(source, read, max_rows) for source in sources]
    n, m = (table.num_rows for table in tables)
    least = max(rule.min_rows, 2 * N_BLOCKS)
    if min(n, m) < least:
        return _no_answer(n, m, f"too few rows: {n:,} and {m:,}, {least} needed in each window")
    is_current = np.arange(n + m) >= n
    split = _split(tables, group, is_current)
    tested = split.n_clusters(is_current)
    if tested < _LEAST_GROUPS:
        needed = f"{_LEAST_GROUPS} of each window are needed among the tested half"
        found = f"found what {tested:.3g} groups of equal size would tell"
        return _no_answer(n, m, f"too few groups: {needed}, {found}")
    matrix, owners = _matrix(tables, layouts)
    judged = _judge(matrix, owners, is_current, split, rule)
    # columns that were named are there, or were refused
    return judged if columns else replace(judged, not_compared=_lost(sources, names, group))


def _no_answer(n_reference: int, n_current: int, reason: str) -> JointDrift:
    return JointDrift(n_reference=n_reference, n_current=n_current, reason=reason)


def _split(tables: Sequence[pa.Table], group: str, is_current: NDArray[np.bool_]) -> Split:
    if not group:
        return split_by_blocks(is_current)
    places: dict[str, int] = {}
    codes = []
    for table in tables:
        for chunk in table.column(group).chunks:
            found = named_groups(chunk)
            # the last place is that of the code -1, missing
            known = [places.setdefault(name, len(places)) for name in found.names]
            codes.append(np.array([*known, -1], dtype=np.int64)[found.codes])
    groups = np.concatenate(codes)
    alone = groups < 0
    groups[alone] = len(places) + np.arange(alone.sum())
    return split_by_groups(groups, is_current)


def _columns(
    sources: tuple[PlainSource, PlainSource], columns: Sequence[str] | None, group: str
) -> list[str]:
    shared = [name for name in sources[0].names if name in sources[1].names]
    for what, asked in (("columns", columns or ()), ("group", [group] if group else ())):
        unknown = [name for name in asked if name not in shared]
        if unknown:
            raise DataError(unknown_columns(what, unknown, shared))
    if group:
        _require_groups(sources, group)
    wanted = (
        [name for name in shared if name != group]
        if columns is None
        else list(dict.fromkeys(columns))
    )
    found = [name for name in wanted if _can_look_at(sources, name)]
    if not found:
        raise DataError(
            "there must be a column of numbers, vectors, booleans or categories that both windows "
            f"have in the same type; found none among {listed_names(wanted)}"
        )
    return found


def _lost(
    sources: tuple[PlainSource, PlainSource], names: Sequence[str], group: str
) -> tuple[str, ...]:
    """Columns of the reference that could be looked at, were the window as it is."""
    others = [name for name in sources[0].names if name not in (*names, group)]
    return tuple(name for name in others if _layout(sources[0], name).kind in _TESTED)


def _require_groups(sources: tuple[PlainSource, PlainSource], group: str) -> None:
    for source in sources:
        if not is_scalar(source.type_of(group)):
            raise DataError(
                "rows are grouped by text, numbers, booleans or times; column "
                f"{quoted_name(group)} holds {value_type(source.type_of(group))}"
            )


def _can_look_at(sources: tuple[PlainSource, PlainSource], name: str) -> bool:
    layout = _layout(sources[0], name)
    return layout.kind in _TESTED and can_count(layout, sources[1].type_of(name))


def _layout(source: PlainSource, name: str) -> FeatureProfile:
    return learn_kind(name, source.sample([name]).column(name).chunks, source.type_of(name))


def _matrix(
    tables: Sequence[pa.Table], layouts: Sequence[FeatureProfile]
) -> tuple[Matrix, list[str]]:
    """The input of the classifier, nan where a value is missing, and the name of each column."""
    blocks, owners = [], []
    for layout in layouts:
        read = [
            read_layout(layout, chunk).values
            for table in tables
            for chunk in table.column(layout.name).chunks
        ]
        block = _block(layout, read)
        blocks.append(block)
        owners.extend([layout.name] * block.shape[1])
    return np.hstack(blocks), owners


def _block(layout: FeatureProfile, read: Sequence[pa.Array]) -> Matrix:
    """One column of both windows, as columns of the matrix."""
    if layout.kind == "vector":
        return _vectors(pa.chunked_array(read).combine_chunks())
    if layout.kind == "category":
        named = pa.concat_arrays([array.cast(pa.large_string()) for array in read])
        return _spread(_frequency_codes(*encode_names(named)), named)
    return np.concatenate([_spread(dense_numbers(array), array) for array in read])


def _frequency_codes(names: Sequence[str], codes: NDArray[Any]) -> Matrix:
    """Code of each row's category, by descending frequency; the rarest categories share a code."""
    # equal frequencies by hash: in the order of appearance the reference's names would come first
    hashes = np.array([name_hash(name) for name in names], dtype=np.uint64)
    order = np.lexsort((hashes, -np.bincount(codes, minlength=len(names))))
    rank: Matrix = np.empty(len(order))
    rank[order] = np.arange(len(order))
    return np.asarray(np.minimum(rank, _MAX_CODES)[codes])


def _spread(values: NDArray[Any], array: pa.Array) -> Matrix:
    """The values as a column of the matrix, with nan where `array` is null."""
    full = np.full(len(array), np.nan)
    full[is_valid(array)] = values
    return full[:, np.newaxis]


def _vectors(array: pa.Array) -> Matrix:
    vectors, usable = vectors_of(array)
    full = np.full((len(array), vectors.shape[1]), np.nan)
    full[usable] = vectors
    return full


def _judge(
    matrix: Matrix,
    owners: Sequence[str],
    is_current: NDArray[np.bool_],
    split: Split,
    rule: DriftRule,
) -> JointDrift:
    """Train the classifier on one side of the rows, and test it on the other."""
    model = _train(matrix[split.trained], is_current[split.trained])
    rows, labels = matrix[split.tested], is_current[split.tested]
    scores = model.predict_proba(rows)[:, 1]
    auc = roc_auc(labels, scores, np.ones(len(labels)), split.cluster)
    p_value = rank_test(labels, scores, split.cluster)
    # below 1/2 the classifier learned noise; the test is one-sided
    effect = max(0.0, 2 * auc.value - 1)
    level = _level(p_value, effect, rule)
    # the contributions to a difference that is not there would be noise
    contributions = {}
    if level != "none":
        contributions = _contributions(model, rows, labels, owners, auc.value)
    return JointDrift(
        n_reference=int((~is_current).sum()),
        n_current=int(is_current.sum()),
        auc=auc.value,
        low=auc.low,
        high=auc.high,
        p_value=p_value,
        effect_size=effect,
        level=level,
        contributions=contributions,
        reason=_reason(auc.value, p_value, level, list(contributions)),
    )


def _train(matrix: Matrix, labels: NDArray[np.bool_]) -> HistGradientBoostingClassifier:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    model = HistGradientBoostingClassifier(
        max_iter=50, max_leaf_nodes=15, early_stopping=False, random_state=0
    )
    # with small trees and busy cores, threads spend more time waiting for each other than working
    with threadpool_limits(limits=1, user_api="openmp"):
        return model.fit(trainable(matrix), labels)


def _level(p_value: float, effect: float, rule: DriftRule) -> Level:
    if p_value > rule.alpha:
        return "none"
    if effect >= rule.min_effect:
        return "drift"
    return "warning" if effect >= rule.warn_effect else "negligible"


def _contributions(
    model: HistGradientBoostingClassifier,
    rows: Matrix,
    labels: NDArray[np.bool_],
    owners: Sequence[str],
    auc: float,
) -> dict[str, float]:
    """Permutation importance: decrease of the AUC when the values of a column are shuffled.

    All components of a vector are shuffled together, because they are one column.
    """
    rng = np.random.default_rng(0)
    lost = {}
    for name in dict.fromkeys(owners):
        shuffled = rows.copy()
        mine = [i for i, owner in enumerate(owners) if owner == name]
        shuffled[:, mine] = rows[rng.permutation(len(rows))][:, mine]
        scores = model.predict_proba(shuffled)[:, 1]
        lost[name] = auc - roc_auc(labels, scores, np.ones(len(labels))).value
    return dict(sorted(lost.items(), key=lambda item: -item[1]))


def _reason(auc: float, p_value: float, level: Level, columns: Sequence[str]) -> str:
    if level == "none":
        return f"a classifier cannot tell the windows apart: AUC {auc:.3f}, p = {p_value:.3f}"
    most = " and ".join(map(shown_name, columns[:2]))
    text = f"a classifier tells the windows apart with AUC {auc:.3f}, most by {most}"
    return text if level != "negligible" else f"{text}; too small to matter"
