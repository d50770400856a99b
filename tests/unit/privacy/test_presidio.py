"""Presidio itself, with recognizers of patterns and no language model; where it is installed."""

from __future__ import annotations

import pytest

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.serving import PresidioRedactor

presidio = pytest.importorskip(
    "presidio_analyzer", reason="Presidio is not installed: pip install presidio-analyzer"
)
spacy = pytest.importorskip("spacy")


@pytest.fixture(scope="module")
def analyzer() -> object:
    """An engine that knows two people, a company and staff numbers."""
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}])
    engine.nlp = {"en": spacy.blank("en")}
    known = {"PERSON": ["Ada Lovelace", "Grace"], "COMPANY": ["Lovelace & Sons"]}
    registry = presidio.RecognizerRegistry(supported_languages=["en"])
    for kind, names in known.items():
        registry.add_recognizer(presidio.PatternRecognizer(kind, deny_list=names))
    for kind, form, score in (("STAFF", r"\bE-\d{5}\b", 0.9), ("MAYBE", r"\border\b", 0.1)):
        pattern = presidio.Pattern(kind, form, score)
        registry.add_recognizer(presidio.PatternRecognizer(kind, patterns=[pattern]))
    return presidio.AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])


@pytest.mark.parametrize(
    ("text", "hidden", "n"),
    [
        ("Ada Lovelace (E-12345) wrote", "[PERSON] ([STAFF]) wrote", 2),
        ("Grace, Grace", "[PERSON], [PERSON]", 2),
        ("ring Grace at me@x.com", "ring [PERSON] at [EMAIL]", 2),
        ("from Ada Lovelace & Sons", "from [COMPANY]", 1),
        ("order 7 of nobody", "order 7 of nobody", 0),
        ("", "", 0),
    ],
)
def test_what_presidio_finds_is_hidden_after_the_patterns(
    analyzer: object, text: str, hidden: str, n: int
) -> None:
    assert PresidioRedactor(analyzer).text(text) == (hidden, n)


@pytest.mark.parametrize(("min_score", "hidden"), [(0.05, "[MAYBE] 7"), (0.5, "order 7")])
def test_what_presidio_is_not_sure_enough_of_is_left(
    analyzer: object, min_score: float, hidden: str
) -> None:
    assert PresidioRedactor(analyzer, min_score=min_score).text("order 7")[0] == hidden


def test_a_language_that_the_analyzer_does_not_know_is_refused(analyzer: object) -> None:
    with pytest.raises(ConfigError, match="must be one of en; got 'de'"):
        PresidioRedactor(analyzer, language="de")


@pytest.mark.parametrize("error", [SystemExit(1), OSError("no model"), ConnectionError("offline")])
def test_a_default_analyzer_without_its_model_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fails() -> None:
        raise error

    monkeypatch.setattr(presidio, "AnalyzerEngine", fails)
    with pytest.raises(ConfigError, match="spacy download"):
        PresidioRedactor()
