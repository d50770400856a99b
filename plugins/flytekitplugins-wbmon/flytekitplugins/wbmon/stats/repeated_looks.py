"""Significance levels for data that are looked at again and again while they accumulate.

A test at the 5 % level that is repeated every night finds a difference that is not there far more
often than once in twenty times. Each function here turns a level into one for a single look, or a
p-value of a single look into one that holds for all of them. Neither needs to know when, or how
often, the data were looked at before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from flytekitplugins.wbmon.stats.tail_probabilities import normal_sf

Looks = Literal["once", "planned", "any"]

_SMALLEST = 1e-150  # no level is smaller: quantiles of heavy tails overflow there
_NEGLIGIBLE = 12.0  # standard deviations beyond which a normal tail does not count
_HALVINGS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at data that accumulate.

    Attributes:
        n: Number of observations so far; `> 0`.
        planned: `once` if this is the only look. A number if the experiment ends with that many
            observations, which is fixed before it begins: O'Brien-Fleming boundary. None if it has
            no planned end: confidence sequence.
        tightest: Number of observations at which the confidence sequence is to be tightest; `> 0`.

    References:
        O'Brien & Fleming (1979), A multiple testing procedure for clinical trials; Lan & DeMets
        (1983), Discrete sequential boundaries for clinical trials; Robbins (1970), Statistical
        methods related to the law of the iterated logarithm; Waudby-Smith et al. (2024),
        Time-uniform central limit theory and asymptotic confidence sequences.
    """

    n: float
    planned: float | Literal["once"] | None = None
    tightest: float = 1000.0

    @property
    def kind(self) -> Looks:
        """For which looks the level holds: this one, those up to the planned end, or any."""
        return "once" if self.planned == "once" else "any" if self.planned is None else "planned"

    def level(self, alpha: float) -> float:
        """Level at which to test at this look, so that all looks together have the level `alpha`.

        Args:
            alpha: Two-sided level over all looks; in (0, 1).

        Returns:
            In (0, alpha].
        """
        if self.planned == "once":
            return alpha
        if self.planned is None:
            x = self._information
            z = math.sqrt((1 + 1 / x) * (math.log1p(x) - 2 * math.log(alpha)))
        else:
            z = exit_limit(alpha) / math.sqrt(min(1.0, self.n / self.planned))
        return max(2 * normal_sf(z), _SMALLEST)

    def p_value(self, p: float) -> float:
        """The least `alpha` whose level at this look is `p` or more.

        Args:
            p: Two-sided p-value of the test at this look; in [0, 1].

        Returns:
            In [0, 1]; `nan` for `nan`.
        """
        if self.planned == "once" or math.isnan(p):
            return p
        if p <= _SMALLEST:
            return 0.0
        # reports import this module for their words; they do not pay for that one
        from statistics import NormalDist

        z = -NormalDist().inv_cdf(p / 2)
        if self.planned is None:
            x = self._information
            return min(1.0, math.exp(math.log1p(x) / 2 - z * z * x / (1 + x) / 2))
        return exit_probability(z * math.sqrt(min(1.0, self.n / self.planned)))

    @property
    def _information(self) -> float:
        # at alpha = 0.05 the boundary is lowest at 8.2
        return 8.2 * self.n / self.tightest


def validity(looks: Looks, planned: float | None, noun: str) -> str:
    """For which looks intervals and p-values hold, in words.

    >>> validity("planned", 2000, "units")
    'valid at every look up to 2,000 units'
    """
    if looks == "planned":
        return f"valid at every look up to {planned:,} {noun}"
    return "valid for one look only" if looks == "once" else "valid at any number of looks"


def exit_probability(limit: float) -> float:
    """Probability that Brownian motion leaves `(-limit, limit)` before time 1; in [0, 1].

    `4 * sum((-1)^k * P(Z > (2 k + 1) * limit))`, by reflection. It is the level of a test that
    rejects as soon as `|z| * sqrt(fraction) > limit`, however often it looks.

    Args:
        limit: The limit, `>= 0`.
    """
    # below it, the probability differs from 1 by less than 1e-13
    if limit < 0.2:  # noqa: PLR2004
        return 1.0
    n_terms = max(1, math.ceil(_NEGLIGIBLE / limit / 2))
    terms = ((-1) ** k * normal_sf((2 * k + 1) * limit) for k in range(n_terms))
    return min(1.0, 4 * math.fsum(terms))


def exit_limit(alpha: float) -> float:
    """The limit that Brownian motion leaves with probability `alpha` before time 1.

    Args:
        alpha: In (0, 1).
    """
    low, high = 0.0, 40.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if exit_probability(middle) > alpha else (low, middle)
    return high
