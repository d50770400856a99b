"""The rule of a drift check: what counts as drift."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from flytekitplugins.wbmon.arguments import listed_columns, require_whole
from flytekitplugins.wbmon.data.kind import declarations
from flytekitplugins.wbmon.equality import ByContent
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.names import quoted_name


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRule(ByContent):
    """When a feature counts as drifted: the change is significant AND large enough to matter.

    Attributes:
        alpha: False discovery rate over all checks of one run (Benjamini-Hochberg); in (0, 1).
        min_effect: Share of rows that must have moved for *drift*; in (0, 1].
        warn_effect: Share of rows that must have moved for a *warning*; in (0, min_effect].
        tail_odds: How many times the odds of the most extreme values must have grown for *drift*,
            if they are now 1 % of rows; for a *warning* if they are less, or have shrunk as much.
            Above 1, `math.inf` for never.
        min_rows: Number of rows with a value that each window needs; a feature with fewer is
            `insufficient`.
        features: The columns to check; empty means every column of either window, except partition
            columns whose values are only in folder names. A column named here is tested even if it
            looks like a running number (`identifier`).
        predictions: Columns with model output; their drift is marked as prediction drift.
        labels: Columns with true labels; their drift is marked as label drift.
        importance: Weight of features in the ranking, by name; 1 where not given.
        kinds: What columns are, by name, as `profile_data` takes it; for a reference that is given
            as data. A profile has its own.
        missing_values: Values that stand for none, by column, likewise.
        fence_past: Whether a check leaves out past windows that are unlike the others in it; they
            are named in the report either way.

    Raises:
        ConfigError: If a number is outside its range, or a kind does not exist.
    """

    alpha: float = 0.05
    min_effect: float = 0.1
    warn_effect: float = 0.05
    tail_odds: float = 2.0
    min_rows: int = 100
    features: tuple[str, ...] = ()
    predictions: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    importance: dict[str, float] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    missing_values: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    fence_past: bool = False

    def __post_init__(self) -> None:
        for name in ("alpha", "min_effect", "warn_effect", "tail_odds"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real):
                raise ConfigError(f"{name} must be a number, got {value!r}")
        if not 0 < self.alpha < 1:
            raise ConfigError(
                f"alpha of a DriftRule must be between 0 and 1, got {self.alpha}; 0.05 is usual"
            )
        if not 0 < self.warn_effect <= self.min_effect <= 1:
            raise ConfigError(
                "effects must hold 0 < warn_effect <= min_effect <= 1, got "
                f"warn_effect={self.warn_effect}, min_effect={self.min_effect}; "
                "both are shares of rows that moved"
            )
        if not self.tail_odds > 1:
            raise ConfigError(f"tail_odds must be above 1, got {self.tail_odds}; 2 is usual")
        require_whole("min_rows", self.min_rows, 1)
        declarations(self.kinds, self.missing_values)
        for name, weight in self.importance.items():
            if not (isinstance(weight, Real) and 0 <= weight < math.inf):
                raise ConfigError(
                    f"importance must be a finite number >= 0, got {weight!r} for "
                    f"{quoted_name(name)}"
                )
        # a frame may have columns named by numbers or times, which the data have as text
        for role in ("features", "predictions", "labels"):
            object.__setattr__(self, role, listed_columns(role, getattr(self, role)))
        weights = {str(name): weight for name, weight in self.importance.items()}
        object.__setattr__(self, "importance", weights)
