"""The price of a model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from flytekitplugins.wbmon.arguments import moment
from flytekitplugins.wbmon.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Prices of one model from a point in time on, in US dollars per million tokens.

    Attributes:
        model: Name of the model in responses. The price also applies to dated snapshots of the
            model that have no price of their own.
        input_usd_per_mtok: Price of input tokens that were not read from a cache.
        output_usd_per_mtok: Price of output tokens.
        cached_input_usd_per_mtok: Price of input read from a cache; the input price if None.
        cache_creation_usd_per_mtok: Price of input written to a cache; the input price if None.
        reasoning_usd_per_mtok: Price of reasoning tokens, which are part of the output; the output
            price if None.
        effective_from: Time from which the price applies, with a time zone; always if None.
        provider: Restricts the price to one provider; any if empty.

    Raises:
        ConfigError: If a price is negative or the time has no zone.
    """

    model: str
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_input_usd_per_mtok: float | None = None
    cache_creation_usd_per_mtok: float | None = None
    reasoning_usd_per_mtok: float | None = None
    effective_from: datetime | None = None
    provider: str = ""

    def __post_init__(self) -> None:
        prices = (
            self.input_usd_per_mtok,
            self.output_usd_per_mtok,
            self.cached_input_usd_per_mtok,
            self.cache_creation_usd_per_mtok,
            self.reasoning_usd_per_mtok,
        )
        if any(price is not None and not 0 <= price < math.inf for price in prices):
            raise ConfigError(f"prices of {self.model!r} must be 0 or more, got {prices}")
        if self.effective_from is None:
            return
        moment("effective_from", self.effective_from)
        if getattr(self.effective_from, "tzinfo", None) is None:
            raise ConfigError(
                f"effective_from of {self.model!r} must have a time zone, got "
                f"{self.effective_from}; write datetime(..., tzinfo=timezone.utc)"
            )
