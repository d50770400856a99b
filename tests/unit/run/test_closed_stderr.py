from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import pytest

from flytekitplugins.wbmon.run.closed_stderr import log_safely, silence_closed_stderr

logger = logging.getLogger(__name__)


@contextmanager
def stderr_of_its_own() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    # not by a fixture: pytest sets its own before the test
    with redirect_stderr(stream):
        yield stream
    logger.removeHandler(handler)


def test_what_is_logged_after_stderr_was_closed_raises_nothing() -> None:
    with stderr_of_its_own() as stderr:
        stderr.close()
        with pytest.raises(ValueError, match="closed"):
            logger.warning("as logging does it")
        with silence_closed_stderr():
            logger.warning("said to nobody")
        assert sys.stderr is stderr


def test_a_stderr_that_is_open_gets_what_is_logged() -> None:
    with stderr_of_its_own() as stderr, silence_closed_stderr(), log_safely():
        logger.warning("said")
    assert stderr.getvalue() == "said\n"


def test_a_handler_of_the_users_own_that_raises_does_no_harm() -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ZeroDivisionError(record.msg)

    handler = Broken()
    logger.addHandler(handler)
    with log_safely():
        logger.warning("said to nobody")
    logger.removeHandler(handler)
