"""Which variant a unit (a session, a user) sees: always the same one, without anything stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.prediction_log.identifiers import unit_share

_TOLERANCE = 1e-9
_MAX_EXPOSURES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """An experiment and the planned share of each of its variants.

    Attributes:
        name: Unique; it salts the assignment, so experiments split units independently.
        variants: Share of the units by variant; the shares add up to 1.

    Raises:
        ConfigError: If there are fewer than two variants, a share is not positive, or the shares
            do not add up to 1.
    """

    name: str
    variants: Mapping[str, float]

    def __post_init__(self) -> None:
        shares = tuple(self.variants.values())
        if len(shares) < 2 or min(shares) <= 0:  # noqa: PLR2004 - a comparison
            raise ConfigError(
                f"experiment {self.name!r} must have at least two variants of positive share, "
                f"got {dict(self.variants)}"
            )
        if abs(math.fsum(shares) - 1) > _TOLERANCE:
            raise ConfigError(
                f"shares of experiment {self.name!r} must add up to 1, got {math.fsum(shares):g}"
            )

    def variant(self, unit: str) -> str:
        """The unit's variant; the same in every process and on every day.

        >>> ab = Experiment(name="layout", variants={"old": 0.5, "new": 0.5})
        >>> ab.variant("session-7") == ab.variant("session-7")
        True
        """
        place = unit_share(f"{self.name}\0{unit}", b"wbmon-experiment")
        edge = 0.0
        for name, share in self.variants.items():
            edge += share
            if place < edge:
                return name
        return name


class Exposures:
    """Which units have seen an experiment in this process; once more than forgotten is harmless."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], None] = {}

    def is_first(self, experiment: str, unit: str) -> bool:
        """Whether a unit sees an experiment for the first time, as far as is remembered."""
        key = (experiment, unit)
        if key in self._seen:
            return False
        if len(self._seen) >= _MAX_EXPOSURES:
            self._seen.clear()
        self._seen[key] = None
        return True
