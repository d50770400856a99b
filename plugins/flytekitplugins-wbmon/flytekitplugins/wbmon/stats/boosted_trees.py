"""Gradient boosted regression trees as plain arrays, which can be stored without a pickle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_ROWS_AT_ONCE = 4096  # the places of as many rows in 250 trees are 4 MB


class BoostedTrees(NamedTuple):
    """Trees whose values are added up; the nodes of all of them, one tree after the other.

    A row goes from a node to `left` if its feature is at most the threshold, or missing where
    missing values go left, else to `right`; both lie behind the node, so every walk ends.

    Attributes:
        base: What is predicted without a tree.
        roots: Place of the root of each tree, ascending; shape `(t,)`.
        feature: Feature that is compared, -1 at a leaf; shape `(n,)`.
        threshold: What it is compared with; 0 at a leaf; shape `(n,)`.
        missing_left: Whether a missing value goes left; shape `(n,)`.
        left: Place of the next node on the left; 0 at a leaf; shape `(n,)`.
        right: Place of the next node on the right; 0 at a leaf; shape `(n,)`.
        value: What a leaf adds; 0 at other nodes; shape `(n,)`.
    """

    base: float
    roots: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: Floats
    missing_left: NDArray[np.bool_]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: Floats

    def predict(self, features: Floats) -> Floats:
        """The prediction of each row.

        Args:
            features: The features the trees were fitted on; `nan` where missing; shape `(n, d)`.

        Returns:
            Shape `(n,)`.
        """
        parts = range(0, len(features), _ROWS_AT_ONCE)
        return np.concatenate(
            [np.empty(0), *(self._predict(features[at : at + _ROWS_AT_ONCE]) for at in parts)]
        )

    def _predict(self, features: Floats) -> Floats:
        place = np.tile(self.roots, (len(features), 1))
        rows = np.arange(len(features))[:, None]
        while True:
            feature = self.feature[place]
            inner = feature >= 0
            if not inner.any():
                total: Floats = self.value[place].sum(axis=1)
                return self.base + total
            found = features[rows, feature]
            goes_left = (found <= self.threshold[place]) | (
                np.isnan(found) & self.missing_left[place]
            )
            following = np.where(goes_left, self.left[place], self.right[place])
            place = np.where(inner, following, place)


def trainable(features: Floats) -> Floats:
    """The features as scikit-learn takes them: a column without any value is a constant.

    Args:
        features: Rows to train with, `nan` where missing; shape `(n, d)`.
    """
    return np.where(np.isnan(features).all(axis=0), 0.0, features)


def mean_of_models(models: Sequence[Any]) -> BoostedTrees:
    """The mean prediction of models as one sum of trees.

    Args:
        models: Fitted `HistGradientBoostingRegressor`s of scikit-learn with the squared error as
            loss and without categorical features.

    Raises:
        RuntimeError: If scikit-learn keeps its trees in another way than this package reads.
    """
    # not public: `_require_same` holds what is read against what the models predict
    iterations = [each for model in models for each in model._predictors]  # noqa: SLF001
    bases = [float(np.ravel(model._baseline_prediction)[0]) for model in models]  # noqa: SLF001
    nodes = [tree.nodes for trees in iterations for tree in trees]
    sizes = np.array([len(each) for each in nodes], dtype=np.int64)
    roots = np.cumsum(sizes) - sizes
    every, start = np.concatenate(nodes), np.repeat(roots, sizes)
    leaf = every["is_leaf"].astype(bool)
    left, right = (np.where(leaf, 0, every[side] + start) for side in ("left", "right"))
    found = BoostedTrees(
        base=float(np.mean(bases)),
        roots=roots.astype(np.int32),
        feature=np.where(leaf, -1, every["feature_idx"]).astype(np.int32),
        threshold=np.where(leaf, 0.0, every["num_threshold"]),
        missing_left=np.where(leaf, False, every["missing_go_to_left"]).astype(bool),
        left=left.astype(np.int32),
        right=right.astype(np.int32),
        value=np.where(leaf, every["value"], 0.0) / len(models),
    )
    _require_same(found, models)
    return found


def _require_same(found: BoostedTrees, models: Sequence[Any]) -> None:
    """Hold the trees against the models that they were taken from, whose arrays are not public."""
    d = int(models[0].n_features_in_)
    # rows that lie on thresholds, where a difference would show, and one without any value
    rows = np.full((65, d), np.nan)
    for column in range(d):
        at = found.threshold[found.feature == column]
        if len(at):
            rows[:-1, column] = np.random.default_rng(column).choice(at, 64)
    expected = np.mean([model.predict(rows) for model in models], axis=0)
    # leaves may cancel out, and then leave their rounding
    largest = float(np.abs(found.value).max(initial=abs(found.base)))
    if not np.allclose(found.predict(rows), expected, rtol=1e-6, atol=1e-9 * largest):
        import sklearn

        raise RuntimeError(
            f"the trees of scikit-learn {sklearn.__version__} are not kept as this package reads "
            "them; install another version of either"
        )
