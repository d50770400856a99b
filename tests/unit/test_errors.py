from __future__ import annotations

from typing import Any

import pytest

from flytekitplugins.wbmon.errors import error_message, error_type


class Nameless(type):
    def __getattribute__(cls, name: str) -> Any:
        if name == "__name__":
            raise RuntimeError(name)
        return super().__getattribute__(name)


class HiddenError(Exception, metaclass=Nameless):
    pass


def raising(error: BaseException) -> BaseException:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise error

    return MuteError()


def test_an_exception_has_its_own_name_and_text() -> None:
    assert error_type(KeyError("x")) == "KeyError"
    assert error_message(KeyError("x")) == "'x'"


def test_the_name_of_a_class_is_known_although_its_metaclass_hides_it() -> None:
    assert error_type(HiddenError("said")) == "HiddenError"
    assert error_message(HiddenError("said")) == "said"


@pytest.mark.parametrize("error", [ValueError(), RecursionError(), SystemExit(9)])
def test_an_exception_whose_text_cannot_be_made_raises_no_other(error: BaseException) -> None:
    assert error_message(raising(error)) == "<exception str() failed>"
