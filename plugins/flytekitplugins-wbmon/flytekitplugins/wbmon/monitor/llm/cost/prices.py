"""The cost of LLM calls, from the user's own prices and then from `genai-prices`.

An unknown price is None and never 0: a cost that is silently too low is worse than one that reports
what it leaves out.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import fields
from datetime import datetime, timezone
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any

from flytekitplugins.wbmon.arguments import moment
from flytekitplugins.wbmon.errors import ConfigError, MissingExtraError
from flytekitplugins.wbmon.monitor.llm.cost.price import Price
from flytekitplugins.wbmon.warn import warn

_MTOK = 1e6
# a dated release without a row of its own takes the price of its model
_SNAPSHOT = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8})$")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_FIELDS = tuple(each.name for each in fields(Price))

logger = logging.getLogger(__name__)


class PriceTable:
    """Prices by model and time.

    Args:
        rows: `Price` records, or mappings with the same names; a time may be ISO 8601 text with a
            zone, a bare date is midnight UTC.
        builtin: Whether to use the package `genai-prices` (extra `llm`) for models without a row.
            If it is not installed, these prices are unknown, and the log says so once.

    Raises:
        ConfigError: If a row has an unknown field, lacks one, or has a time without a zone.
    """

    def __init__(
        self, rows: Iterable[Price | Mapping[str, Any]] = (), *, builtin: bool = True
    ) -> None:
        self.rows = tuple(row if isinstance(row, Price) else _price(row) for row in rows)
        self._builtin = builtin
        self._by_model: dict[str, list[Price]] = {}
        for row in sorted(self.rows, key=_since):
            self._by_model.setdefault(row.model, []).append(row)

    def cost_usd(
        self,
        model: str,
        *,
        input_tokens: float | None,
        output_tokens: float | None,
        cache_read_input_tokens: float | None = None,
        cache_creation_input_tokens: float | None = None,
        reasoning_output_tokens: float | None = None,
        at: datetime | None = None,
        provider: str | None = None,
    ) -> float | None:
        """The cost of one call in US dollars.

        Args:
            model: The model that answered, which may differ from the requested one.
            input_tokens: All input tokens, including cached ones.
            output_tokens: All output tokens, including reasoning.
            cache_read_input_tokens: Input read from a cache; 0 if None.
            cache_creation_input_tokens: Input written to a cache; 0 if None.
            reasoning_output_tokens: Output spent on reasoning; 0 if None.
            at: Time of the call, with a time zone; now if None.
            provider: Name of the provider; None if unknown.

        Returns:
            The cost; None if the price or a token count is unknown.

        Raises:
            ConfigError: If `at` is no moment, or has no time zone.
        """
        if input_tokens is None or output_tokens is None:
            return None
        at = _checked_time(at)
        counts = (
            float(input_tokens),
            float(output_tokens),
            float(cache_read_input_tokens or 0),
            float(cache_creation_input_tokens or 0),
            float(reasoning_output_tokens or 0),
        )
        price = self.price_of(model, at=at, provider=provider)
        if price is not None:
            return _amount(price, *counts)
        return _builtin_cost(model, provider, at, counts) if self._builtin else None

    def price_of(self, model: str, *, at: datetime, provider: str | None = None) -> Price | None:
        """The user's price that is valid at a time; None if no row covers it."""
        # a row for the exact release takes precedence over one for the model
        for name in dict.fromkeys((model, _SNAPSHOT.sub("", model))):
            in_force = [
                row
                for row in self._by_model.get(name, ())
                if _since(row) <= at and row.provider in ("", provider or row.provider)
            ]
            if in_force:
                return in_force[-1]
        return None


def _since(row: Price) -> datetime:
    return row.effective_from or datetime.min.replace(tzinfo=timezone.utc)


def _amount(
    price: Price, n_input: float, n_output: float, cached: float, created: float, reasoning: float
) -> float:
    full, output = price.input_usd_per_mtok, price.output_usd_per_mtok
    parts = (
        # cached tokens are part of the input and reasoning part of the output: charge neither twice
        (max(n_input - cached - created, 0.0), full),
        (cached, _either(price.cached_input_usd_per_mtok, full)),
        (created, _either(price.cache_creation_usd_per_mtok, full)),
        (max(n_output - reasoning, 0.0), output),
        (reasoning, _either(price.reasoning_usd_per_mtok, output)),
    )
    return sum(count * usd for count, usd in parts) / _MTOK


def _either(price: float | None, otherwise: float) -> float:
    return otherwise if price is None else price


def _checked_time(at: datetime | None) -> datetime:
    if at is None:
        return datetime.now(timezone.utc)
    found = moment("at", at)
    if getattr(at, "tzinfo", None) is None:
        raise ConfigError(f"at must have a time zone, got {at}; prices change at a moment")
    return found


def _price(row: Mapping[str, Any]) -> Price:
    for name in row:
        if name not in _FIELDS:
            near = difflib.get_close_matches(name, _FIELDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(_FIELDS)}"
            raise ConfigError(f"a price has no field {name!r}; {hint}")
    given = dict(row)
    since = given.get("effective_from")
    if isinstance(since, str):
        given["effective_from"] = _parsed(since)
    elif since is not None and not isinstance(since, datetime):
        given["effective_from"] = moment("effective_from", since)
    try:
        return Price(**given)
    except TypeError as error:
        raise ConfigError(
            f"a price must have model, input_usd_per_mtok and output_usd_per_mtok; {error}"
        ) from error


def _parsed(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise ConfigError(
            f"effective_from must be a time like 2026-01-31T00:00:00+00:00, got {text!r}"
        ) from error
    return found.replace(tzinfo=timezone.utc) if _DATE.fullmatch(text) else found


def _builtin_cost(
    model: str, provider: str | None, at: datetime, counts: tuple[float, ...]
) -> float | None:
    # prices change by the day, some by the hour; looking one up takes 0.1 ms
    hour = at.astimezone(timezone.utc).replace(minute=0, second=0, microsecond=0)
    known = _builtin_price(model, provider, hour)
    if known is None:
        return None
    n_input, n_output, cached, created, _ = (int(count) for count in counts)
    try:
        usage = _genai_prices().Usage(
            input_tokens=n_input,
            output_tokens=n_output,
            cache_read_tokens=cached,
            cache_write_tokens=created,
        )
        return float(known.calc_price(usage)["total_price"])
    except (ValueError, LookupError):
        return None
    except (AttributeError, TypeError) as error:
        _say_changed(str(error))
        return None


@lru_cache(maxsize=4096)
def _builtin_price(model: str, provider: str | None, at: datetime) -> Any:
    library = _genai_prices()
    if library is None:
        return None
    try:
        nothing = library.Usage(input_tokens=0, output_tokens=0)
        # the library may not know the provider's name, but find the model by its own
        for owner in dict.fromkeys((provider, None)):
            with suppress(LookupError, ValueError):
                found = library.calc_price(
                    nothing, model, provider_id=owner, genai_request_timestamp=at
                )
                return found.model_price
    except (AttributeError, TypeError) as error:
        _say_changed(str(error))
    return None


@cache
def _genai_prices() -> Any:
    try:
        import genai_prices
    except ImportError:
        missing = MissingExtraError.for_feature("The price of a model without a row", extra="llm")
        warn(logger, "%s", missing)
        return None
    return genai_prices


@cache
def _say_changed(problem: str) -> None:
    warn(
        logger,
        "genai-prices %s works in another way (%s): models without a price of your own have none",
        version("genai-prices"),
        problem,
    )
