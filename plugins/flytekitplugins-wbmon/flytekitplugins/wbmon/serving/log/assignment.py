"""Assigns units (sessions or users) to the variants of an experiment, by hashing.

The variant is a function of the experiment's name and the unit's id, so every process finds the
same one and no assignment has to be stored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.prediction_log.identifiers import unit_share
from flytekitplugins.wbmon.storage.segments.json_lines import text_of

# shares such as three times 1/3 do not add up to exactly 1 in floating point
_TOLERANCE = 1e-9
# bounds the memory of a process that serves many units
_MAX_EXPOSURES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """An experiment and the planned share of each of its variants.

    Attributes:
        name: Unique name; it salts the hash, so different experiments split units independently.
        variants: Share of the units by variant, each in (0, 1); the shares add up to 1.

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
        # the separator keeps ("ab", "c") and ("a", "bc") apart
        # a text as it is, also one that is not well formed: its variant must not change
        said = unit if type(unit) is str else text_of(unit)
        place = unit_share(f"{self.name}\0{said}", b"wbmon-experiment")
        edge = 0.0
        for name, share in self.variants.items():
            edge += share
            if place < edge:
                return name
        # rounding may leave the last edge just below 1: the rest belongs to the last variant
        return name


class Exposures:
    """Remembers which units have seen an experiment in this process.

    Forgetting is harmless: an exposure that is written twice has the same `feedback_id`, and
    readers keep one row for each id.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], None] = {}

    def is_first(self, experiment: str, unit: str) -> bool:
        """Whether this is the unit's first exposure to the experiment, as far as is remembered."""
        key = (experiment, text_of(unit))
        if key in self._seen:
            return False
        if len(self._seen) >= _MAX_EXPOSURES:
            self._seen.clear()
        self._seen[key] = None
        return True
