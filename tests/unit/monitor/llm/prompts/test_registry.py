"""Prompts: strict places, one identity, and a history of decisions."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon import Answer, EvaluationRule, Variant
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.llm.evaluation.evaluate import evaluate_variants
from flytekitplugins.wbmon.monitor.llm.evaluation.prompt import PromptTemplate
from flytekitplugins.wbmon.monitor.llm.evaluation.report import EvaluationReport
from flytekitplugins.wbmon.monitor.llm.prompts.registry import PromptFiles, resolve_variants
from flytekitplugins.wbmon.monitor.versions.files import VersionFiles
from flytekitplugins.wbmon.storage.compare_and_swap import replace_file

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
    with pytest.raises(ConfigError, match="slashes"):
        registry.publish(PromptTemplate.from_text("a\0", "{question}"))


def test_an_alias_never_hides_a_prompt(registry: PromptFiles) -> None:
    first = registry.publish(QA)
    other = PromptTemplate.from_text("qa", "{question}")
    for alias in (first.digest, first.digest[:6], "", "a b", "\n"):
        with pytest.raises(ConfigError, match="alias must"):
            registry.publish(other, alias=alias)
    assert registry.history("qa").versions == (first,), "nothing was published"


def compared(registry: PromptFiles, *, seed: int = 1, better: float = 0.95) -> EvaluationReport:
    """The candidate against what is in production, on 50 items."""
    ask = np.random.default_rng(seed).random(50)
    variants = resolve_variants(
        [
            Variant(name="now", prompt_name="qa"),
            Variant(name="next", prompt_name="qa", prompt_version="candidate"),
        ],
        registry.uri,
    )

    def answer(item: dict, variant: Variant) -> Answer:
        right = ask[item["n"]] < (0.4 if variant.name == "now" else better)
        return Answer(text="yes" if right else "no")

    items = [{"n": n, "expected": "yes"} for n in range(50)]
    return evaluate_variants(items, variants, answer, scorers=["exact"])


@pytest.fixture
def versions(registry: PromptFiles) -> list[str]:
    """The digests of what is in production, the candidate, and a third version."""
    aliases = {"{n}": "production", "{n}?": "candidate", "{n}!": None}
    return [
        registry.publish(PromptTemplate.from_text("qa", text), alias=alias).digest
        for text, alias in aliases.items()
    ]


def test_only_a_winner_is_promoted_by_an_evaluation(
    registry: PromptFiles, versions: list[str]
) -> None:
    report = compared(registry)

    assert report.variants[1].digest == versions[1]
    assert not registry.promote_winner("qa", compared(registry, better=0.4))
    assert registry.promote_winner("qa", report, by="nightly")
    assert registry.get("qa").digest == versions[1]
    last = registry.history("qa").decisions[-1]
    assert (last.before, last.by, last.reason) == (versions[0], "nightly", report.reason)
    assert last.evidence["n"] == 50
    assert last.evidence["difference"] == report.comparisons[0].difference


def test_an_open_interval_is_no_evidence_and_stops_no_promotion(
    registry: PromptFiles, versions: list[str]
) -> None:
    report = compared(registry)
    unbounded = (replace(each, low=math.nan, high=math.inf) for each in report.comparisons)
    report = replace(report, comparisons=tuple(unbounded))

    assert registry.promote_winner("qa", report)
    evidence = registry.history("qa").decisions[-1].evidence
    assert evidence.keys() == {"evaluation", "metric", "difference", "n"}
    registry.roll_back("qa", reason="complaints")
    assert not registry.promote_winner("qa", report), "the same comparison"


def test_a_retry_changes_nothing_and_undoes_no_roll_back(
    registry: PromptFiles, versions: list[str]
) -> None:
    report = compared(registry)
    assert registry.promote_winner("qa", report)
    n_decisions = len(registry.history("qa").decisions)

    assert not registry.promote_winner("qa", report)
    assert len(registry.history("qa").decisions) == n_decisions
    registry.roll_back("qa", reason="complaints")
    assert not registry.promote_winner("qa", report)
    assert not registry.promote_winner("qa", compared(registry, seed=2)), "whatever it finds"
    assert registry.get("qa").digest == versions[0]
    registry.promote("qa", versions[1], reason="it was not its fault", by="ana")
    assert registry.get("qa").digest == versions[1]


def test_the_same_comparison_promotes_once(registry: PromptFiles, versions: list[str]) -> None:
    report = compared(registry)
    assert registry.promote_winner("qa", report)
    registry.promote("qa", versions[0], reason="hotfix")
    # an evaluation that finds the same answers in its store is no new evidence
    assert not registry.promote_winner("qa", replace(compared(registry), spent_usd=1.0))
    assert registry.promote_winner("qa", compared(registry, seed=2)), "other answers are"
    assert registry.get("qa").digest == versions[1]


def test_a_prompt_that_the_winner_was_not_compared_with_stays(
    registry: PromptFiles, versions: list[str]
) -> None:
    report = compared(registry)
    registry.promote("qa", versions[2], reason="hotfix")

    assert not registry.promote_winner("qa", report)
    assert registry.get("qa").digest == versions[2]
    assert registry.promote_winner("qa", compared(registry)), "now it was"


def test_a_decision_in_the_moment_of_a_promotion_stands(
    registry: PromptFiles, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = compared(registry)

    def later(*arguments: object) -> bool:
        monkeypatch.undo()
        PromptFiles(registry.uri).promote("qa", versions[2], reason="hotfix")
        return replace_file(*arguments)

    monkeypatch.setattr(f"{VersionFiles.__module__}.replace_file", later)

    assert not registry.promote_winner("qa", report)
    assert registry.get("qa").digest == versions[2]


def test_the_same_prompt_with_another_model_is_no_change(
    registry: PromptFiles, versions: list[str]
) -> None:
    report = compared(registry)
    same = replace(report.variants[1], digest=versions[0])

    assert not registry.promote_winner("qa", replace(report, variants=(report.variants[0], same)))
    assert registry.history("qa").decisions[-1].alias == "candidate"


def test_the_first_prompt_in_production_replaces_none(registry: PromptFiles) -> None:
    registry.publish(PromptTemplate.from_text("qa", "{n}?"), alias="candidate")
    now = Variant.of_text("now", "{n}")
    [candidate] = resolve_variants(
        [Variant(name="next", prompt_name="qa", prompt_version="candidate")], registry.uri
    )
    report = evaluate_variants(
        [{"n": n, "expected": "next"} for n in range(50)],
        [now, candidate],
        lambda item, variant: Answer(text=variant.name),
        scorers=["exact"],
    )

    assert registry.promote_winner("qa", report)
    assert registry.get("qa").digest == candidate.prompt_version


def test_a_cheaper_prompt_is_promoted_on_the_score_that_decided(
    registry: PromptFiles, versions: list[str]
) -> None:
    variants = resolve_variants(
        [
            Variant(name="now", prompt_name="qa"),
            Variant(name="next", prompt_name="qa", prompt_version="candidate"),
        ],
        registry.uri,
    )
    report = evaluate_variants(
        [{"n": n, "expected": "yes"} for n in range(50)],
        variants,
        lambda item, variant: Answer(text="yes", cost_usd=1.0 if variant.name == "now" else 0.1),
        scorers=["exact"],
        rule=EvaluationRule(max_loss=0.2),
    )

    assert registry.promote_winner("qa", report)
    assert registry.history("qa").decisions[-1].evidence["difference"] == 0


def test_a_variant_without_any_prompt_is_refused() -> None:
    with pytest.raises(ConfigError, match="a registry"):
        resolve_variants([Variant(name="x")], "")
