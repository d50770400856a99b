"""The kinds of columns that monitoring distinguishes."""

from __future__ import annotations

from typing import Literal

Kind = Literal[
    "float",
    "integer",
    "boolean",
    "categorical",
    "identifier",
    "timestamp",
    "vector",
    "other",
    "null",
]
