"""Scorers, schemas and citations."""

from __future__ import annotations

import json
import math
import pickle
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon import Answer
from flytekitplugins.wbmon.errors import ConfigError, DataError, MissingExtraError
from flytekitplugins.wbmon.monitor.llm.evaluation.scorers import (
    BUILTIN,
    IsJson,
    Matches,
    Similar,
    citations,
    parse_json,
)
from flytekitplugins.wbmon.stats.text import cosine_similarity, exact_match, token_f1

SCHEMA = {
    "type": "object",
    "properties": {
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "tags": {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 2},
        "kind": {"enum": ["a", "b"]},
    },
    "required": ["score"],
    "additionalProperties": False,
}


def test_case_articles_and_punctuation_make_no_difference() -> None:
    assert exact_match("The Eiffel Tower.", "eiffel tower") == 1.0
    assert token_f1("the red house", "a red car") == pytest.approx(0.5)
    assert token_f1("", "") == 1.0
    assert token_f1("x", "") == 0.0


@given(st.text(), st.text())
def test_likeness_of_texts_is_symmetric_and_between_0_and_1(a: str, b: str) -> None:
    assert token_f1(a, b) == pytest.approx(token_f1(b, a))
    assert 0 <= token_f1(a, b) <= 1
    assert exact_match(a, a) == 1.0


def test_cosine() -> None:
    assert cosine_similarity([1, 0], [0, 2]) == 0
    assert cosine_similarity([1, 2], [2, 4]) == pytest.approx(1)
    assert math.isnan(cosine_similarity([0, 0], [1, 0]))


@pytest.mark.parametrize(
    ("name", "text", "reason", "score"),
    [
        ("exact", "Paris!", "stop", 1.0),
        ("f1", "It is Paris", "stop", 0.5),
        ("contains", "it is PARIS, of course", "stop", 1.0),
        ("complete", "Par", "length", 0.0),
        ("complete", "  ", "stop", 0.0),
        ("complete", "Paris", "stop", 1.0),
        ("cites", "Paris [d1]", "stop", 1.0),
        ("cites", "Paris [d1] [d9]", "stop", 0.5),
        ("cites", "Paris", "stop", 0.0),
        ("no_personal_data", "Paris, on 2026-03-02, order 1700000000", "stop", 1.0),
        ("no_personal_data", "write to ann@example.com", "stop", 0.0),
        ("no_personal_data", "the key is sk-aaaabbbbccccddddeeeeffff1234", "stop", 0.0),
    ],
)
def test_built_in_scorers(name: str, text: str, reason: str, score: float) -> None:
    answer = Answer(text=text, finish_reason=reason, retrieved=("d1", "d2"))

    assert BUILTIN[name](answer, {"expected": "Paris"}) == pytest.approx(score)


def test_an_item_without_what_a_scorer_needs_is_not_scored_rather_than_scored_0() -> None:
    with pytest.raises(DataError, match="expected"):
        BUILTIN["exact"](Answer(text="x"), {})
    with pytest.raises(DataError, match="retrieved"):
        BUILTIN["cites"](Answer(text="x"), {})


def test_citations_are_ids_or_ranks_and_a_link_is_none() -> None:
    found = citations("See [d1, d7] and [2], not [this](http://x) [d1].", ["d1", "d2", "d3"])

    assert found.valid == ("d1", "d2")
    assert found.unknown == ("d7",)
    assert found.unused == ("d3",)


def test_json_answers_may_come_in_a_fence() -> None:
    answer = Answer(text='```json\n{"score": 0.5}\n```')

    assert parse_json(answer.text) == {"score": 0.5}
    assert IsJson(SCHEMA)(answer, {}) == 1.0
    assert IsJson(SCHEMA)(Answer(text="{score: 1}"), {}) == 0.0
    assert IsJson(SCHEMA)(Answer(text='{"score": 2}'), {}) == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        {}, {"score": "1"}, {"score": True}, {"score": 2}, {"score": 1, "more": 1},
        {"score": 1, "kind": "c"}, {"score": 1, "tags": ["", "b"]},
        {"score": 1, "tags": ["a", "b", "c"]}, [],
    ],
)  # fmt: skip
def test_what_a_schema_does_not_allow_scores_0(wrong: object) -> None:
    assert IsJson(SCHEMA)(Answer(text=json.dumps(wrong)), {}) == 0.0
    right = {"score": 1, "tags": ["a"], "kind": "b"}
    assert IsJson(SCHEMA)(Answer(text=json.dumps(right)), {}) == 1.0


def test_a_schema_may_use_all_of_the_standard() -> None:
    schema = {
        "$defs": {"name": {"type": "string", "minLength": 1}},
        "oneOf": [{"$ref": "#/$defs/name"}, {"type": "array", "contains": {"const": 1}}],
    }
    given = {'"a"': 1.0, '""': 0.0, "[0, 1]": 1.0, "[true]": 0.0, "{}": 0.0}
    assert {text: IsJson(schema)(Answer(text=text), {}) for text in given} == given


def test_a_checker_of_json_survives_a_pickle() -> None:
    loaded = pickle.loads(pickle.dumps(IsJson(SCHEMA)))
    assert loaded == IsJson(SCHEMA)
    assert loaded(Answer(text='{"score": 1}'), {}) == 1.0


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"anyOf": []}, r"must be a JSON Schema; at \$\.anyOf"),
        ({"properties": {"a": {"type": "int"}}}, r"at \$\.properties\.a\.type: 'int'"),
        ({"items": {"pattern": "("}}, r"at \$\.items\.pattern"),
        ({"required": "score"}, "'score' is not of type 'array'"),
        (
            {"items": {"$ref": "#/$defs/no"}},
            r"into the schema itself, got '#/\$defs/no'",
        ),
        ({"$ref": "https://example.com/x.json"}, "put what it means under"),
        ({"$dynamicRef": "#nowhere"}, "got '#nowhere'"),
    ],
)
def test_a_schema_that_cannot_work_is_refused_at_once(schema: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        IsJson(schema)


def test_what_only_looks_like_a_reference_is_none() -> None:
    schema = {"properties": {"$ref": {"type": "string"}}, "default": {"$ref": "#/no"}}
    assert IsJson(schema)(Answer(text='{"$ref": "x"}'), {}) == 1.0


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    ],
)
def test_a_schema_that_only_refers_to_itself_is_refused(schema: dict) -> None:
    with pytest.raises(ConfigError, match="lead back to itself"):
        IsJson(schema)


TREE = {"$defs": {"node": {"type": "object", "additionalProperties": {"$ref": "#/$defs/node"}}}}


@pytest.mark.parametrize("depth", [3, 1000, 100_000])
def test_an_answer_may_be_nested_but_not_without_end(depth: int) -> None:
    nested = '{"a":' * depth + "{}" + "}" * depth
    assert IsJson({**TREE, "$ref": "#/$defs/node"})(Answer(text=nested), {}) == float(depth == 3)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}'])
def test_words_that_json_does_not_have_are_not_json(text: str) -> None:
    assert IsJson({})(Answer(text=text), {}) == 0.0
    with pytest.raises(ValueError, match="not JSON"):
        parse_json(text)


@pytest.mark.parametrize(
    ("divisor", "text", "is_multiple"),
    [
        (0.01, "0.07", True), (0.1, "0.3", True), (0.1, "0.35", False), (3, "9", True),
        (3, "10", False), (0.01, "1e30", True), (1, '"text"', True),
    ],
)  # fmt: skip
def test_multiples_are_those_of_the_numbers_as_they_are_written(
    divisor: float, text: str, is_multiple: bool
) -> None:
    assert IsJson({"multipleOf": divisor})(Answer(text=text), {}) == float(is_multiple)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("date", "2026-01-31", "2026-13-01"), ("email", "a@b.org", "a"),
        ("ipv4", "10.0.0.1", "10.0.0.300"),
    ],
)  # fmt: skip
def test_a_format_is_checked(name: str, right: str, wrong: str) -> None:
    scorer = IsJson({"type": "string", "format": name})
    assert [scorer(Answer(text=json.dumps(each)), {}) for each in (right, wrong)] == [1.0, 0.0]


def test_a_number_beyond_floats_is_no_multiple_of_anything() -> None:
    assert IsJson({"multipleOf": 0.1})(Answer(text="1e400"), {}) == 0.0


def test_without_jsonschema_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(MissingExtraError, match=r"IsJson .*\[llm\]"):
        IsJson(SCHEMA)


def test_an_expression_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="regular expression"):
        Matches("(")


def test_patterns_and_embeddings_score_too() -> None:
    def embed(texts: list[str]) -> list[list[float]]:
        return [[float(text.count("a")), 1.0] for text in texts]

    assert Matches(r"\d{4}")(Answer(text="in 1999"), {}) == 1.0
    assert Similar(embed)(Answer(text="aa"), {"expected": "aa"}) == pytest.approx(1.0)
