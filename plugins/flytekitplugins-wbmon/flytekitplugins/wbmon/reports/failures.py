"""How much of a window may fail before the rest no longer stands for all of it."""

from __future__ import annotations

FAILED_ALLOWED = 0.05
"""Share of rows, answers or queries; what fails is rarely a random sample of them."""
