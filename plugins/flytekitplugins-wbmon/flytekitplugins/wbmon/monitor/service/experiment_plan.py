"""What is fixed before an online experiment begins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from flytekitplugins.wbmon.arguments import is_number, require_whole
from flytekitplugins.wbmon.errors import ConfigError

_ROUNDED = 0.005  # how far from 1 shares may add up, such as three of 0.333


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentPlan:
    """An experiment, and what is asked of it.

    Attributes:
        experiment: Name of the experiment.
        outcome: Name of the ratings used as outcome.
        control: The variant with which the others are compared.
        shares: Planned share of units by variant, with sum 1; empty to skip the test of the split.
        min_units: Fewest measured units in each variant for a verdict; at least 2.
        planned_units: Measured units, of all variants together, with which the experiment ends; at
            least `min_units` for each. None without such a plan.
        unrated: The outcome of an exposed unit without a rating, such as 0 where only successes
            are logged; None leaves such units out.

    Raises:
        ConfigError: If a name is none, a number or a share is outside its range, or `shares` lacks
            the control.
    """

    experiment: str
    outcome: str
    control: str
    shares: Mapping[str, float] = field(default_factory=dict)
    min_units: int = 30
    planned_units: int | None = None
    unrated: float | None = None

    def __post_init__(self) -> None:
        for name in ("experiment", "outcome", "control"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise ConfigError(f"{name} must be a name, got {value!r}")
        shares: Any = self.shares
        if not isinstance(shares, Mapping) or not all(isinstance(name, str) for name in shares):
            raise ConfigError(f"shares must be numbers by the name of the variant, got {shares!r}")
        require_whole("min_units", self.min_units, 2)
        if self.planned_units is not None:
            n_variants = max(2, len(self.shares))
            require_whole("planned_units", self.planned_units, n_variants * self.min_units)
        if self.unrated is not None and not is_number(self.unrated):
            raise ConfigError(f"unrated must be a number or None, got {self.unrated!r}")
        self._require_whole_shares()
        object.__setattr__(self, "shares", dict(self.shares))

    def _require_whole_shares(self) -> None:
        for variant, share in self.shares.items():
            # written so that nan is refused
            if not (isinstance(share, Real) and 0 < share <= 1):
                raise ConfigError(
                    f"each of shares must be a number in (0, 1], got {share!r} for {variant!r}"
                )
        total = math.fsum(self.shares.values())
        if self.shares and abs(total - 1) > _ROUNDED:
            raise ConfigError(
                f"shares must add up to 1, got {total:.4g}; name every variant that gets units"
            )
        if len(self.shares) == 1:
            raise ConfigError(f"shares must name two variants or more, got {[*self.shares]}")
        if self.shares and self.control not in self.shares:
            raise ConfigError(
                f"control must be one of {', '.join(sorted(self.shares))}; got {self.control!r}"
            )
