"""The W&B key, and how it stays out of sight.

It is read when the run opens and handed to the one process that delivers. There is no login, no
netrc is written, no server is asked, and that process's environment does not hold it.
"""

from __future__ import annotations

from typing import NoReturn


class ApiKey:
    """A W&B key that does not print itself and refuses to be pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself, for the one who must send it."""
        return self._value

    def __repr__(self) -> str:
        return "ApiKey([redacted])"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a W&B key must not leave the process; pass the Secret that names it")
