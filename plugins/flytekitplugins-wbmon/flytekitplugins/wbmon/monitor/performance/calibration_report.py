"""How well the probabilities of a model are calibrated."""

from __future__ import annotations

from dataclasses import dataclass

from flytekitplugins.wbmon.equality import ByContent


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin(ByContent):
    """One bin of a reliability diagram: mean score and share of positive labels of its rows."""

    score: float
    share: float
    share_low: float
    share_high: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration(ByContent):
    """Calibration: whether predicted probabilities agree with observed frequencies.

    Attributes:
        error: Expected calibration error over the bins; in [0, 1], 0 is best.
        error_by_chance: Calibration error expected of perfectly calibrated probabilities on the
            same number of rows; it is above 0, because frequencies vary by chance.
        p_value: Two-sided p-value of perfect calibration (Spiegelhalter's test).
        too_sure: True if the probabilities are too far from 1/2 (overconfident), False if they are
            too near; None if the data show neither.
        bins: The reliability curve, with about the same number of rows in each bin.
    """

    error: float
    error_by_chance: float
    p_value: float
    too_sure: bool | None
    bins: tuple[ReliabilityBin, ...]
