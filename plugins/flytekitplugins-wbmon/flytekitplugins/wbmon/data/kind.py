"""What a column holds, as far as monitoring is concerned."""

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
