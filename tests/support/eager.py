"""`eager`, wherever the installed flytekit has it: `flytekit.experimental` before 1.15."""

from __future__ import annotations

try:
    from flytekit import eager
except ImportError:
    from flytekit.experimental import eager

__all__ = ["eager"]
