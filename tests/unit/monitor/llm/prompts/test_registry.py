"""Prompts: strict places, one identity, and a history of decisions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon import Answer, Variant
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.llm.evaluation.evaluate import evaluate_variants
from flytekitplugins.wbmon.monitor.llm.evaluation.prompt import PromptTemplate
from flytekitplugins.wbmon.monitor.llm.prompts.registry import PromptFiles, resolve_variants

QA = PromptTemplate(
    name="qa", messages=(("system", 'Answer as {"a": 1}.'), ("user", "{question} {{not}} {x}"))
)


def test_braces_of_json_are_text_and_doubled_ones_are_a_brace() -> None:
    messages = QA.format(question="Why?", x=3)

    assert messages == [
        {"role": "system", "content": 'Answer as {"a": 1}.'},
        {"role": "user", "content": "Why? {not} 3"},
    ]
    assert QA.variables == {"question", "x"}


@given(st.text())
def test_what_is_filled_in_is_never_filled_again(text: str) -> None:
    prompt = PromptTemplate.from_text("echo", "{question}")

    assert prompt.format(question=text)[0]["content"] == text


def test_a_missing_and_an_extra_value_are_errors() -> None:
    with pytest.raises(ConfigError, match=r"no value for 'x'.*no place for 'y'"):
        QA.format(question="Why?", y=1)
    with pytest.raises(ConfigError, match="did you mean 'question'"):
        QA.format(questions="Why?", x=1)


def test_the_digest_is_the_identity_and_the_name_is_not() -> None:
    same = PromptTemplate(name="other", messages=QA.messages)

    assert QA.digest == same.digest
    assert QA.diff(same) == ""
    changed = PromptTemplate.from_text("qa", "{question}")
    assert changed.digest != QA.digest
    assert "-[system]" in QA.diff(changed)


@pytest.fixture
def registry(tmp_path: Path) -> PromptFiles:
    return PromptFiles(str(tmp_path / "prompts"))


def test_the_same_prompt_is_one_version(registry: PromptFiles) -> None:
    first = registry.publish(QA, alias="production")
    again = registry.publish(QA)

    assert first == again
    assert len(registry.history("qa").versions) == 1
    assert registry.get("qa").template == QA
    assert registry.get("qa", first.digest[:8]) == first


def test_a_promotion_and_a_roll_back_are_on_record(registry: PromptFiles) -> None:
    old = registry.publish(QA, alias="production")
    new = registry.publish(PromptTemplate.from_text("qa", "{question}!"), alias="candidate")

    registry.promote("qa", "candidate", reason="better by 5 points", by="me", evidence={"n": 60})
    assert registry.get("qa").digest == new.digest
    registry.roll_back("qa", reason="complaints")
    assert registry.get("qa").digest == old.digest
    decisions = registry.history("qa").decisions
    assert [each.reason for each in decisions] == [
        "published",
        "published",
        "better by 5 points",
        "complaints",
    ]
    assert decisions[2].evidence == {"n": 60}


def test_what_cannot_be_found_promoted_or_rolled_back_is_refused(registry: PromptFiles) -> None:
    with pytest.raises(DataError, match="no version and no alias"):
        registry.get("qa")
    registry.publish(QA, alias="production")
    with pytest.raises(ConfigError, match="reason"):
        registry.promote("qa", "production", reason=" ")
    with pytest.raises(DataError, match="version before"):
        registry.roll_back("qa", reason="x")
    with pytest.raises(ConfigError, match="slashes"):
        registry.history("a/b")


def test_only_a_winner_is_promoted_by_an_evaluation(registry: PromptFiles) -> None:
    ask = np.random.default_rng(1).random(50)

    def answer(item: dict, variant: Variant) -> Answer:
        right = ask[item["n"]] < (0.4 if variant.prompt_version == old.digest else 0.95)
        return Answer(text="yes" if right else "no")

    old = registry.publish(PromptTemplate.from_text("qa", "{n}"), alias="production")
    new = registry.publish(PromptTemplate.from_text("qa", "{n}?"), alias="candidate")
    variants = resolve_variants(
        [
            Variant(name="now", prompt_name="qa"),
            Variant(name="next", prompt_name="qa", prompt_version="candidate"),
        ],
        registry.uri,
    )
    items = [{"n": n, "expected": "yes"} for n in range(50)]
    report = evaluate_variants(items, variants, answer, scorers=["exact"])
    reverse = evaluate_variants(items, variants[::-1], answer, scorers=["exact"])

    assert report.variants[1].digest == new.digest
    assert not registry.promote_winner("qa", reverse)
    assert registry.promote_winner("qa", report, by="nightly")
    assert registry.get("qa").digest == new.digest
    assert registry.history("qa").decisions[-1].evidence["n"] == 50


def test_a_variant_without_any_prompt_is_refused() -> None:
    with pytest.raises(ConfigError, match="a registry"):
        resolve_variants([Variant(name="x")], "")
