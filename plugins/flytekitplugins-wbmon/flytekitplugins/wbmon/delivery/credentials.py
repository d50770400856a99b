"""The W&B key, protected against accidental disclosure.

The key is read when the run opens and sent to the worker process on its standard input. There is no
login, no netrc file is written, no server is asked, and the worker does not inherit the key in its
environment.
"""

from __future__ import annotations

from typing import NoReturn


class ApiKey:
    """A W&B key that is hidden in `repr` and cannot be pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself, for code that must send it."""
        return self._value

    def __repr__(self) -> str:
        return "ApiKey([redacted])"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a W&B key must not leave the process; pass the Secret that names it")
