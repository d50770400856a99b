"""Drift that no single column shows: a classifier that tries to tell the two windows apart.

If two columns that rose together now rise apart, each of them looks the same as ever. A classifier
that is trained on half of the rows and still tells the other half's windows apart has found a
difference, and its AUC says how large it is. It needs the rows themselves, not profiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flytekitplugins.wbmon.data.arrow import dense_numbers, is_valid, kind_of, without_null_names
from flytekitplugins.wbmon.data.open import Data, open_source
from flytekitplugins.wbmon.data.sources import Source, stored_names
from flytekitplugins.wbmon.data.systematic_sample import spread_rows
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.drift.report import DriftRule, JointDrift, Level
from flytekitplugins.wbmon.monitor.profiles.build import unknown_columns
from flytekitplugins.wbmon.monitor.profiles.count import can_count, encode_names, learn_feature
from flytekitplugins.wbmon.monitor.profiles.vectors import vectors_of
from flytekitplugins.wbmon.stats.arrays import Matrix
from flytekitplugins.wbmon.stats.classification import roc_auc
from flytekitplugins.wbmon.stats.tail_probabilities import normal_sf

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

_MAX_CODES = 250
_TESTED = ("float", "integer", "boolean", "categorical", "vector")


def check_joint_drift(
    reference: Data,
    current: Data,
    *,
    columns: Sequence[str] | None = None,
    rule: DriftRule | None = None,
    max_rows: int = 20_000,
) -> JointDrift:
    """Whether a classifier can tell the rows of the two windows apart, and by which columns.

    Every second row trains a gradient boosting classifier, the others are scored: the
    Mann-Whitney test of their scores is valid whatever the classifier learned.

    Args:
        reference: As `profile_data` takes it; not a profile.
        current: Likewise.
        columns: What the classifier may look at; by default every column of numbers, vectors,
            booleans or categories that both windows have in the same type.
        rule: `alpha`, the levels of the effect and `min_rows`.
        max_rows: Rows of a window that are used, spread evenly over it.

    Returns:
        The AUC with its interval, and how much of it each column carries.

    Raises:
        DataError: If the data cannot be read, a column does not exist in both windows, or there is
            no column to look at.
    """
    rule = rule or DriftRule()
    named = columns or ()
    sources = open_source(reference, naming=named), open_source(current, naming=named)
    names = _columns(sources, columns)
    tables = [spread_rows(source, names, max_rows) for source in sources]
    n, m = (table.num_rows for table in tables)
    if min(n, m) < rule.min_rows:
        return JointDrift(
            n_reference=n,
            n_current=m,
            reason=f"too few rows: {n:,} and {m:,}, {rule.min_rows} needed in each window",
        )
    matrix, owners = _matrix(pa.concat_tables(tables, promote_options="permissive"), names)
    is_current = np.arange(n + m) >= n
    return _judge(matrix, owners, is_current, rule)


def _columns(sources: tuple[Source, Source], columns: Sequence[str] | None) -> list[str]:
    shared = [name for name in sources[0].schema.names if name in sources[1].schema.names]
    stored = {*stored_names(sources[0])} & {*stored_names(sources[1])}
    unknown = [name for name in columns or () if name not in shared]
    if unknown:
        raise DataError(unknown_columns("columns", unknown, shared))
    by_default = [name for name in shared if name in stored]
    wanted = by_default if columns is None else list(dict.fromkeys(columns))
    found = [name for name in wanted if _can_look_at(sources, name)]
    if not found:
        raise DataError(
            "there must be a column of numbers, vectors, booleans or categories that both windows "
            f"have in the same type; found none among {', '.join(map(repr, wanted)) or 'none'}"
        )
    return found


def _can_look_at(sources: tuple[Source, Source], name: str) -> bool:
    dtypes = [source.schema.field(name).type for source in sources]
    layout = learn_feature(name, sources[0].sample([name]).column(0).chunks, dtypes[0])
    return layout.kind in _TESTED and can_count(layout, dtypes[1])


def _matrix(table: pa.Table, names: Sequence[str]) -> tuple[Matrix, list[str]]:
    """Numbers for the classifier, nan where a value is missing; and whose column each is."""
    blocks, owners = [], []
    for name in names:
        block = _block(table.column(name).combine_chunks())
        blocks.append(block)
        owners.extend([name] * block.shape[1])
    return np.hstack(blocks), owners


def _block(array: Any) -> Matrix:
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    kind = kind_of(array.type)
    if kind == "vector":
        return _vectors(array)
    if kind == "categorical":
        array = without_null_names(array)
        return _spread(_frequency_codes(encode_names(array)[1]), array)
    return _spread(np.asarray(dense_numbers(array), dtype=np.float64), array)


def _frequency_codes(codes: NDArray[Any]) -> Matrix:
    """Categories by falling frequency; the rarest share a code."""
    order = np.argsort(-np.bincount(codes), kind="stable")
    rank: Matrix = np.empty(len(order))
    rank[order] = np.arange(len(order))
    return np.asarray(np.minimum(rank, _MAX_CODES)[codes])


def _spread(values: Matrix, array: pa.Array) -> Matrix:
    full = np.full((len(array), 1), np.nan)
    full[is_valid(array), 0] = values
    return full


def _vectors(array: pa.Array) -> Matrix:
    vectors, usable = vectors_of(array)
    full = np.full((len(array), vectors.shape[1]), np.nan)
    full[usable] = vectors
    return full


def _judge(
    matrix: Matrix, owners: Sequence[str], is_current: NDArray[np.bool_], rule: DriftRule
) -> JointDrift:
    trained = np.arange(len(matrix)) % 2 == 0
    model = _train(matrix[trained], is_current[trained])
    rows, labels = matrix[~trained], is_current[~trained]
    weight = np.ones(len(labels))
    scores = model.predict_proba(rows)[:, 1]
    auc = roc_auc(labels, scores, weight)
    n, m = int((~labels).sum()), int(labels.sum())
    p_value = normal_sf((auc.value - 0.5) / np.sqrt((n + m + 1) / (12 * n * m)))
    effect = max(0.0, 2 * auc.value - 1)
    level = _level(p_value, effect, rule)
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
    # trees this small spend longer waiting for busy cores than growing
    with threadpool_limits(limits=1, user_api="openmp"):
        return model.fit(matrix, labels)


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
    """AUC lost when all numbers of a column are dealt anew to the rows."""
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
    text = f"a classifier tells the windows apart with AUC {auc:.3f}, most by {columns[0]}"
    if len(columns) > 1:
        text += f" and {columns[1]}"
    return text if level != "negligible" else f"{text}; too small to matter"
