"""An outage of a store in a node, which Flyte tries again, as if the pod had been lost.

flytekit ends a task for good whatever its inputs or its body raise, but for two kinds of errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flytekit.exceptions.system import (
    FlyteDownloadDataException,
    FlyteNonRecoverableSystemException,
)
from flytekit.exceptions.user import FlyteRecoverableException

from flytekitplugins.wbmon.errors import StorageError

# a pod has one task
_noted: list[FlyteDownloadDataException] = []


class PassingStorageError(FlyteRecoverableException, StorageError):
    """A store could not be reached; a task with `retries` is tried again."""


def input_out_of_reach(error: StorageError) -> FlyteDownloadDataException:
    """The error for a record among the inputs whose store is away, which is noted too.

    What flytekit makes of it is not tried again, and of a union of types not even tells the cause.
    """
    told = FlyteDownloadDataException(str(error))
    _noted.append(told)
    return told


@contextmanager
def retried_by_flyte() -> Iterator[None]:
    """Let outages be errors that Flyte tries again, at its own cost or with the task's `retries`.

    Around reading the inputs, the work of a task, or both.
    """
    _noted.clear()
    try:
        yield
    except FlyteNonRecoverableSystemException as error:
        if not _noted:
            raise
        raise _noted[-1] from error
    except PassingStorageError:
        raise
    except StorageError as error:
        raise PassingStorageError(str(error)) from error
