"""Assigns units (sessions or users) to the variants of an experiment, by hashing.

The variant is a function of the experiment's name and the unit's id, so every process finds the
same one and no assignment has to be stored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.prediction_log.identifiers import keyed_hash, unit_share

# shares such as three times 1/3 do not add up to exactly 1 in floating point
_TOLERANCE = 1e-9
# bounds the memory of a process that serves many units
_MAX_EXPOSURES = 100_000
# the key of logs without one of their own: fixed, so that every process finds the same hash
_UNIT_KEY = b"wbmon-unit"


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
        place = unit_share(f"{self.name}\0{unit}", b"wbmon-experiment")
        edge = 0.0
        for name, share in self.variants.items():
            edge += share
            if place < edge:
                return name
        # rounding may leave the last edge just below 1: the rest belongs to the last variant
        return name


def unit_hash(unit: str, key: bytes | None) -> str:
    """What is written in place of a unit, which may be the name of a user: HMAC-SHA256.

    With a key it is what `user_hash` of that user is. Without one the key is fixed and public: who
    has a list of names can try them all.

    >>> unit_hash("ann", b"secret") == unit_hash("ann", b"secret") != unit_hash("ann", None)
    True
    """
    return keyed_hash(_UNIT_KEY if key is None else key, unit)


class Exposures:
    """Remembers which units have seen an experiment in this process.

    Forgetting is harmless: an exposure that is written twice has the same `feedback_id`, and
    readers keep one row for each id.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, str | None], None] = {}

    def is_first(self, experiment: str, unit: str, tenant: str | None) -> bool:
        """Whether this is the first exposure of a tenant's unit, as far as is remembered."""
        key = (experiment, unit, tenant)
        if key in self._seen:
            return False
        if len(self._seen) >= _MAX_EXPOSURES:
            self._seen.clear()
        self._seen[key] = None
        return True
