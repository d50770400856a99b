"""How failures are told."""

from __future__ import annotations

from collections.abc import Mapping

_TOLD_CLASSES = 3


def told_failures(n_failed: int, n: int, what: str, errors: Mapping[str, int]) -> str:
    """How many of what failed and with which errors, the most frequent ones first.

    Args:
        n_failed: How many failed.
        n: Of how many.
        what: What they are, in the plural.
        errors: Number of failures by class of the error.
    """
    classes = sorted(errors, key=lambda name: (-errors[name], name))
    told = ", ".join(f"{name} {errors[name]}" for name in classes[:_TOLD_CLASSES])
    more = f", {len(classes) - _TOLD_CLASSES} others" if len(classes) > _TOLD_CLASSES else ""
    return f"{n_failed} of {n} {what}" + (f" ({told}{more})" if told else "")
