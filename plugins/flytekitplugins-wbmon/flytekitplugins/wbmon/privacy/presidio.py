"""Redaction with Presidio, for names and places, which patterns cannot recognise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from flytekitplugins.wbmon.errors import ConfigError, MissingExtraError
from flytekitplugins.wbmon.privacy.patterns import PatternRedactor


class PresidioRedactor:
    """Hides what a Presidio analyzer finds, after the patterns have hidden keys and numbers.

    An analysis takes milliseconds where the patterns take microseconds; it runs in the writer
    thread, so give it a low sampling rate.

    Args:
        analyzer: A `presidio_analyzer.AnalyzerEngine` of the caller's languages and models; it is
            made once and used for every text. None for Presidio's default, which must be
            installed together with its language model.
        language: Of the texts.
        min_score: Findings that Presidio is less sure of are left.

    Raises:
        MissingExtraError: If no analyzer is given and Presidio is not installed.
        ConfigError: If Presidio has no language model for its default analyzer, or the analyzer
            does not know the language.
    """

    def __init__(
        self, analyzer: Any = None, *, language: str = "en", min_score: float = 0.5
    ) -> None:
        self._analyzer = analyzer or _default_analyzer()
        known = getattr(self._analyzer, "supported_languages", [language])
        if language not in known:
            raise ConfigError(f"language must be one of {', '.join(known)}; got {language!r}")
        self._language, self._min_score = language, min_score
        self._patterns = PatternRedactor()

    def text(self, text: str) -> tuple[str, int]:
        """The text with every finding replaced by its kind in brackets, and how often."""
        text, n = self._patterns.text(text)
        found = self._analyzer.analyze(text=text, language=self._language)
        sure = [each for each in found if each.score >= self._min_score]
        pieces, end = [], 0
        for start, stop, kind in _disjoint(sure):
            pieces += [text[end:start], f"[{kind}]"]
            end = stop
            n += 1
        return "".join([*pieces, text[end:]]), n


def _disjoint(found: Iterable[Any]) -> Iterator[tuple[int, int, str]]:
    """Begin, end and kind of what is to be hidden, in order.

    Overlapping findings are hidden together, since hiding one alone would leave a part of the other
    visible. The kind is that of the finding with the highest score, the longest among equals.
    """
    groups: list[list[Any]] = []
    end = 0
    for each in sorted(found, key=lambda item: (item.start, -item.end)):
        if groups and each.start < end:
            groups[-1].append(each)
        else:
            groups.append([each])
        end = max(end, each.end)
    for group in groups:
        best = max(group, key=lambda item: (item.score, item.end - item.start))
        yield group[0].start, max(item.end for item in group), best.entity_type


def _default_analyzer() -> Any:
    try:
        from presidio_analyzer import AnalyzerEngine
    except ImportError as error:
        raise MissingExtraError.for_feature("PresidioRedactor", extra="presidio") from error
    try:
        return AnalyzerEngine()
    except (Exception, SystemExit) as error:  # spaCy, asked for a model it lacks, ends the process
        raise ConfigError(
            "Presidio's default analyzer must have its language model, found none and could not "
            "load it; install it (python -m spacy download en_core_web_lg) or pass analyzer="
        ) from error
