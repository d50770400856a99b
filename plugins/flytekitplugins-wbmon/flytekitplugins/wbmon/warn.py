"""Warnings on the way of a caller or of a thread of ours, which must go on."""

from __future__ import annotations

from contextlib import suppress
from logging import Logger


def warn(logger: Logger, message: str, *values: object, exc_info: bool = False) -> None:
    """Log a warning; nothing that a handler or filter of the app raises gets out.

    Args:
        logger: Logger of the module that warns.
        message: With a `%s` for each value.
        values: What the message says.
        exc_info: Whether the exception that is being handled is logged with it.
    """
    with suppress(Exception):
        logger.warning(message, *values, exc_info=exc_info, stacklevel=2)
