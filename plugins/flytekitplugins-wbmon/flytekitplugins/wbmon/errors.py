"""Every exception the package raises on purpose, so that callers can catch what they can handle.

    WbmonError
    ├── ConfigError (ValueError)         a setting, keyword or rule that cannot work
    │   └── MissingExtraError (ImportError)   an optional dependency is not installed
    ├── DataError (ValueError)           data that break the contract of a function
    │   └── InsufficientDataError        too few rows for any answer
    ├── StorageError (OSError)           a store that cannot be reached, or refuses
    ├── ScoringError (RuntimeError)      the user's predict function raised
    ├── BudgetExceededError (RuntimeError)   more was spent than a budget allows
    └── PublishError (RuntimeError)      a report could not be delivered

Constructors take the finished message only, so every error can be pickled and can leave its pod.
A message says what must hold, what was found, and what to do.
"""

from __future__ import annotations

from typing import Any, cast

# as the interpreter itself says it in a traceback
_NO_TEXT = "<exception str() failed>"


class WbmonError(Exception):
    """Base class of all errors of this package."""


class ConfigError(WbmonError, ValueError):
    """A setting that cannot work, found before any work is done."""

    # also a ValueError: flytekitplugins-wandb raises that, and code that catches it goes on working


class MissingExtraError(ConfigError, ImportError):
    """An optional dependency is not installed."""

    @classmethod
    def for_feature(cls, feature: str, *, extra: str) -> MissingExtraError:
        """The error that names the feature and the `pip install` command it needs."""
        return cls(
            f"{feature} needs an optional dependency that is not installed; "
            f'run: pip install "flytekitplugins-wbmon[{extra}]"'
        )


class DataError(WbmonError, ValueError):
    """Data that break the contract of the function they were given to."""


class InsufficientDataError(DataError):
    """Too few rows for any answer."""


class StorageError(WbmonError, OSError):
    """A store cannot be reached, or refuses to be read or written; the cause is its own error."""


class ScoringError(WbmonError, RuntimeError):
    """The user's predict function raised; the cause is its exception."""


class BudgetExceededError(WbmonError, RuntimeError):
    """More was spent than a budget whose action is `fail` allows."""


class PublishError(WbmonError, RuntimeError):
    """A report or a run could not be delivered."""


def error_type(error: BaseException) -> str:
    """Name of an exception's class, also if its metaclass hides it."""
    own: Any = type.__dict__["__name__"]
    return cast(str, own.__get__(type(error)))


def error_message(error: BaseException) -> str:
    """Text of an exception, which may be of the user's own class: `__str__` may raise anything."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - it must not take the place of the exception itself
        return _NO_TEXT
