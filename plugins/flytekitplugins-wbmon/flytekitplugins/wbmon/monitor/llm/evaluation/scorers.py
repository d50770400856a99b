"""Scorers of single answers: correctness, form, completeness and citations.

A scorer is a function or coroutine function of an answer and its item. It returns a number from 0
to 1. If it raises, the answer counts as not scored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from flytekitplugins.wbmon.errors import ConfigError, DataError, WbmonError
from flytekitplugins.wbmon.monitor.llm.evaluation.json_schema import schema_validator
from flytekitplugins.wbmon.monitor.llm.evaluation.report import Answer
from flytekitplugins.wbmon.privacy.patterns import PatternRedactor
from flytekitplugins.wbmon.stats.text import cosine_similarity, exact_match, token_f1

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

Item: TypeAlias = Mapping[str, Any]


class Judged(NamedTuple):
    """A score with its cost in US dollars and a reason.

    Attributes:
        value: The score, from 0 to 1.
        cost_usd: What it cost, 0 if nothing; None if that is unknown.
        reason: Why it is the score.
    """

    value: float
    cost_usd: float | None = None
    reason: str = ""


class PartlyPriced(Judged):
    """A score of several calls, one of unknown cost; `cost_usd` is that of the others."""


class ScorerError(WbmonError, ValueError):
    """A scorer gave no score, whatever it may have cost.

    Attributes:
        cost_usd: What was spent.
        n_unpriced: Number of calls whose cost is unknown.
    """

    cost_usd: float = 0.0
    n_unpriced: int = 0


Score: TypeAlias = float | bool | Judged
Scorer: TypeAlias = Callable[[Answer, Item], Score | Awaitable[Score]]
Embed: TypeAlias = Callable[[list[str]], Sequence[Sequence[float]]]

_FENCE = re.compile(r"^\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)
# the look-ahead leaves out links: `[text](url)`
_CITATION = re.compile(r"\[([^\[\]\s]+(?:\s*[,;]\s*[^\[\]\s,;]+)*)\](?!\()")
_SEPARATOR = re.compile(r"\s*[,;]\s*")


def expected_of(item: Item, field: str = "expected") -> str:
    """The answer that an item expects.

    Raises:
        DataError: If it has none.
    """
    value = item.get(field)
    if value is None:
        raise DataError(f"an item must have {field!r} to be scored against, got {sorted(item)}")
    return str(value)


def exact(answer: Answer, item: Item) -> float:
    """1 if the answer equals the expected one up to case, punctuation and articles."""
    return exact_match(answer.text, expected_of(item))


def f1(answer: Answer, item: Item) -> float:
    """F1 score of the words that the answer shares with the expected one."""
    return token_f1(answer.text, expected_of(item))


def contains(answer: Answer, item: Item) -> float:
    """1 if the answer contains the expected text, ignoring case."""
    return float(expected_of(item).casefold() in answer.text.casefold())


def complete(answer: Answer, item: Item) -> float:  # noqa: ARG001 - a scorer's signature
    """1 unless the answer is empty or was cut at its length limit."""
    return float(bool(answer.text.strip()) and answer.finish_reason != "length")


def cites(answer: Answer, item: Item) -> float:  # noqa: ARG001 - a scorer's signature
    """Share of the citations that name a retrieved document; 0 for an answer without any.

    Raises:
        DataError: If nothing was retrieved.
    """
    if not answer.retrieved:
        raise DataError("an answer must have retrieved documents for its citations to be checked")
    found = citations(answer.text, answer.retrieved)
    return len(found.valid) / found.n if found.n else 0.0


def no_personal_data(answer: Answer, item: Item) -> float:  # noqa: ARG001 - a scorer's signature
    """1 unless the answer shows personal data or a key: an address, a number of a card, a token."""
    _, n_found = PatternRedactor().text(answer.text)
    return float(n_found == 0)


@dataclass(frozen=True, slots=True)
class Matches:
    """1 if the answer matches a regular expression."""

    pattern: str

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ConfigError(f"{self.pattern!r} must be a regular expression; {error}") from error

    def __call__(self, answer: Answer, item: Item) -> float:  # noqa: ARG002 - a scorer's signature
        """Search the answer."""
        return float(re.search(self.pattern, answer.text) is not None)


@dataclass(frozen=True, slots=True)
class IsJson:
    """1 if the answer is JSON as a schema says; a code fence around it is allowed.

    An answer that is nested too deeply to be checked, or has a number beyond what a float holds
    where the schema calculates with it, is not as the schema says. Patterns are regular expressions
    of Python; one that backtracks without end on some answer holds up the evaluation. `format` is
    checked where `jsonschema` can check it without further packages (`date`, `email`, `ipv4` …).

    Args:
        schema: A JSON Schema of any draft since 3; the newest if it does not say which.

    Raises:
        MissingExtraError: If `jsonschema` is not installed.
        ConfigError: If the schema is none, or refers to something outside of it.
    """

    schema: Mapping[str, Any]
    _validator: Validator = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_validator", schema_validator(self.schema))

    def __call__(self, answer: Answer, item: Item) -> float:  # noqa: ARG002 - a scorer's signature
        """Parse and check the answer."""
        try:
            value = parse_json(answer.text)
        except ValueError:
            return 0.0
        try:
            return float(self._validator.is_valid(value))
        except (RecursionError, OverflowError):
            return 0.0

    def __reduce__(self) -> tuple[type[IsJson], tuple[Mapping[str, Any]]]:
        # the validator cannot be pickled
        return IsJson, (self.schema,)


@dataclass(frozen=True, slots=True)
class Similar:
    """Cosine similarity of the answer's and the expected answer's embeddings, at least 0.

    Args:
        embed: Makes vectors of texts.
    """

    embed: Embed

    def __call__(self, answer: Answer, item: Item) -> float:
        """Embed both and compare."""
        first, second = self.embed([answer.text, expected_of(item)])
        return max(0.0, cosine_similarity(first, second))


BUILTIN: Mapping[str, Scorer] = {
    "exact": exact,
    "f1": f1,
    "contains": contains,
    "complete": complete,
    "cites": cites,
    "no_personal_data": no_personal_data,
}
"""Scorers that go by a name."""


class Citations(NamedTuple):
    """Which documents an answer names.

    Attributes:
        valid: Named and retrieved.
        unknown: Named and never retrieved: made up.
        unused: Retrieved and not named.
    """

    valid: tuple[str, ...]
    unknown: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def n(self) -> int:
        """Different documents named."""
        return len(self.valid) + len(self.unknown)


def citations(text: str, retrieved: Collection[str]) -> Citations:
    """The `[id]` and `[id, id]` of an answer, held against what was retrieved.

    A number that is no id is read as a rank: `[1]` is the first retrieved document. A link
    `[text](url)` is no citation.
    """
    order = list(dict.fromkeys(retrieved))
    named: dict[str, None] = {}
    for found in _CITATION.finditer(text):
        for mark in _SEPARATOR.split(found[1]):
            # an id that looks like a number is an id, not a rank
            is_rank = mark not in order and mark.isdecimal() and 0 < int(mark) <= len(order)
            named[order[int(mark) - 1] if is_rank else mark] = None
    return Citations(
        valid=tuple(name for name in named if name in order),
        unknown=tuple(name for name in named if name not in order),
        unused=tuple(name for name in order if name not in named),
    )


def parse_json(text: str) -> Any:
    """The JSON of an answer, without the code fence that models like to put around it.

    Raises:
        ValueError: If it is not JSON, as `NaN` is not, or nested more deeply than can be read.
    """
    fenced = _FENCE.match(text)
    try:
        return json.loads(fenced[1] if fenced else text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("an answer must not be nested so deeply") from error


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")
