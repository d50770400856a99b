"""Losses by a stand-in for the label, such as a judge's verdict, for all rows of a window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]
    Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies:
    """The rows of a window that have a prediction, labelled or not, with their losses by proxy.

    Attributes:
        name: Column of the proxy.
        rows: Position of each row in the window, ascending; shape `(m,)`.
        losses: By the metric that is made of their mean, the loss of each row if the proxy were its
            label; the mean of the others where it has no proxy; shape `(m,)`.
        known: Whether a row has a proxy that can be held against its prediction; shape `(m,)`.
        odd: Whether it has one that cannot, such as a class that no label has; shape `(m,)`.
        example: One of these; empty without.
        weight: Row weights; shape `(m,)`.
        cluster: Cluster of each row; None if rows are independent.
    """

    name: str
    rows: Codes
    losses: Mapping[str, Floats]
    known: Mask
    odd: Mask
    example: str
    weight: Floats
    cluster: Codes | None = None

    def n_beside(self, labelled: Codes) -> int:
        """Number of rows that count by their proxy beside the labelled ones.

        Args:
            labelled: Positions of rows in the window, all with a prediction; shape `(n,)`.
        """
        inside = self.known[np.searchsorted(self.rows, labelled)]
        return int(self.known.sum()) - int(inside.sum())

    def part(self, inside: Mask) -> Proxies:
        """The rows inside a part of the window."""
        kept = inside[self.rows]
        return replace(
            self,
            rows=self.rows[kept],
            losses={name: values[kept] for name, values in self.losses.items()},
            known=self.known[kept],
            odd=self.odd[kept],
            weight=self.weight[kept],
            cluster=None if self.cluster is None else self.cluster[kept],
        )
