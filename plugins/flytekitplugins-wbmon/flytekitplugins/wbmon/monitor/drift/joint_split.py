"""Which rows train the classifier of the joint test, and which test it, where rows are alike.

A row that is nearly another one (a repeated event, the next turn of a session, the next second of a
sensor) must not test what that one trained: the classifier would recognise it. Rows that lie
together, or belong together, therefore stay on one side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flytekitplugins.wbmon.stats.influence import effective_rows

N_BLOCKS = 10
"""Blocks of successive rows of a window; every second one is tested."""

_PARTS = 4  # clusters of a block

Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Split(NamedTuple):
    """The two sides of a test.

    Attributes:
        trained: Numbers of the rows that train.
        tested: Numbers of the rows that test, others.
        cluster: Code of the cluster of each tested row; clusters are independent.
    """

    trained: Codes
    tested: Codes
    cluster: Codes

    def n_clusters(self, is_current: Flags) -> float:
        """Effective number of clusters that are tested, of the window that has fewer.

        That of equal clusters which tell as much: a group of most of the rows leaves few.
        """
        now = is_current[self.tested]
        return min(effective_rows(side.astype(np.float64), self.cluster) for side in (now, ~now))


def split_by_blocks(is_current: Flags) -> Split:
    """Train on every second block of successive rows of each window, and test on those between.

    Several blocks, and not two halves, so that both sides see the whole time span. Rows at the ends
    of a tested block, a tenth at each, are in neither, because their neighbours train. Each quarter
    of a tested block is a cluster: whole ones would be so few that a change in a part of the window
    is no more than a difference between them.

    Args:
        is_current: Window of each row; the rows of each are in their order, at least two a
            block.
    """
    block, part = np.empty((2, len(is_current)), dtype=np.int64)
    for of_window in (is_current, ~is_current):
        size = int(of_window.sum())
        # in whole numbers: a block is 10 units long, of which the first and the last are left out
        unit = 2 * size
        block[of_window], within = np.divmod((2 * np.arange(size) + 1) * N_BLOCKS, unit)
        inside = 10 * within - unit
        is_outside = (inside < 0) | (inside > 8 * unit)
        quarter = np.minimum(inside * _PARTS // (8 * unit), _PARTS - 1)
        part[of_window] = np.where(is_outside, -1, quarter)
    is_trained = block % 2 == 0
    tested = np.flatnonzero(~is_trained & (part >= 0))
    cluster = _PARTS * (block + N_BLOCKS * is_current) + part
    return Split(trained=np.flatnonzero(is_trained), tested=tested, cluster=cluster[tested])


def split_by_groups(groups: Codes, is_current: Flags) -> Split:
    """Train on about half of the groups, and test on the others; each group is a cluster.

    The largest groups are placed first, each so that the sides come to have as many rows of either
    window.

    Args:
        groups: Code `>= 0` of the group of each row, the same in both windows.
        is_current: Window of each row.
    """
    k = int(groups.max()) + 1
    shares = np.stack(
        [np.bincount(groups[w], minlength=k) / max(1, w.sum()) for w in (~is_current, is_current)]
    )
    # stable: equal groups in the order of their codes, so the result is repeatable
    order = np.argsort(-shares.sum(axis=0), kind="stable")
    trains = np.empty(k, dtype=bool)
    lead_before = lead_now = 0.0
    for group, before, now in zip(order.tolist(), *shares[:, order].tolist(), strict=True):
        # the side whose choice leaves the smaller sum of squared leads
        side = 1 if lead_before * before + lead_now * now <= 0 else -1
        trains[group] = side > 0
        lead_before += side * before
        lead_now += side * now
    is_trained = trains[groups]
    tested = np.flatnonzero(~is_trained)
    return Split(trained=np.flatnonzero(is_trained), tested=tested, cluster=groups[tested])
