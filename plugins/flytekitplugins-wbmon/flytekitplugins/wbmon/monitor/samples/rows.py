"""How many rows to show, and which; and the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flytekitplugins.wbmon.errors import ConfigError

_MAX_SAMPLE = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Rows that a person may look at in the W&B run; keys and personal data are hidden.

    Names and postal addresses follow no pattern and are not found: name the `columns` to show.

    Attributes:
        rows: Maximum number of rows, from 1 to 10 000.
        by: The column by which the sample is stratified; of scored rows the first predicted one if
            empty, of requests `sample_reason`.
        columns: The columns to show beside those; all if empty.
        seed: Seed of the random choice; `>= 0`.

    Raises:
        ConfigError: If a number is out of range.
    """

    rows: int = 200
    by: str = ""
    columns: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.rows <= _MAX_SAMPLE or self.seed < 0:
            raise ConfigError(
                f"a sample must have 1 to {_MAX_SAMPLE} rows and a seed of at least 0, got "
                f"{self.rows} and {self.seed}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledRows:
    """The sampled rows.

    Attributes:
        columns: `stratum`, `row` (its position), `stands_for` (rows that it represents), then the
            columns of the data.
        rows: Values in the order of the columns, redacted.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
