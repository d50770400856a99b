"""The names that users import: complete, documented, each given once."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

import pytest

from flytekitplugins import wbmon
from support.environment import ROOT

DOCS = "".join(page.read_text() for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))


def exported(name: str) -> Any:
    return getattr(wbmon, name)


def parameters(thing: Any) -> list[str]:
    """The names of what a caller may pass by keyword."""
    signature = inspect.signature(thing.__init__ if inspect.isclass(thing) else thing)
    positional_only = inspect.Parameter.POSITIONAL_ONLY
    return [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.name != "self" and parameter.kind is not positional_only
    ]


def test_names_are_sorted_and_given_once() -> None:
    assert len(set(wbmon.__all__)) == len(wbmon.__all__)
    assert sorted(wbmon._HOMES) == sorted(wbmon.__all__)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(inspect.getsource(wbmon))
    (block,) = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    ]
    homes = {
        alias.name: str(statement.module).removeprefix("flytekitplugins.wbmon.")
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert homes == wbmon._HOMES


def test_no_two_names_are_the_same_thing() -> None:
    things = [exported(name) for name in wbmon.__all__]
    assert len({id(thing) for thing in things}) == len(things)


@pytest.mark.parametrize("name", wbmon.__all__)
def test_a_name_is_defined_where_it_is_said_to_be(name: str) -> None:
    thing = exported(name)
    assert thing.__name__ == name
    assert thing.__module__.removeprefix("flytekitplugins.wbmon.") == wbmon._HOMES[name]


@pytest.mark.parametrize("name", wbmon.__all__)
def test_a_name_is_documented_in_full_sentences(name: str) -> None:
    text = exported(name).__doc__ or ""
    assert not text.startswith(f"{name}("), "this is what dataclass writes by itself"
    assert text.split("\n")[0].endswith((".", '."')), f"{name} must begin with a sentence"


@pytest.mark.parametrize("name", wbmon.__all__)
def test_every_parameter_is_documented(name: str) -> None:
    thing = exported(name)
    documented = inspect.getdoc(thing) or ""
    missing = [
        parameter
        for parameter in parameters(thing)
        if not re.search(rf"\b{parameter}\b", documented)
    ]
    assert missing == []


@pytest.mark.parametrize("name", wbmon.__all__)
def test_the_docs_name_it(name: str) -> None:
    assert re.search(rf"\b{name}\b", DOCS)
