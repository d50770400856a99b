"""Texts that are hard for a pattern: made of its own parts, repeated, and never finished."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

try:  # the module of the standard library was renamed
    import re._constants as ops
    import re._parser as parser
except ImportError:
    import sre_constants as ops
    import sre_parse as parser

_LONGEST = 80
_CATEGORIES = {
    ops.CATEGORY_DIGIT: "1",
    ops.CATEGORY_NOT_DIGIT: "a",
    ops.CATEGORY_SPACE: " ",
    ops.CATEGORY_NOT_SPACE: "a",
    ops.CATEGORY_WORD: "a",
    ops.CATEGORY_NOT_WORD: " ",
}


def hard_parts(pattern: re.Pattern[Any]) -> list[tuple[str, str]]:
    """What to begin a text with and what to repeat in it, from every place of a pattern."""
    source = pattern.pattern
    if isinstance(source, bytes):
        source = source.decode("latin-1")
    flags = pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags
    found: set[tuple[str, str]] = set()
    _Walk(found).sample(parser.parse(source, flags), "")
    return sorted(found)


def hard_texts(pattern: re.Pattern[Any], size: int) -> Iterator[tuple[str, str]]:
    """The parts, each with its name, repeated until a text has a size."""
    for start, part in hard_parts(pattern):
        yield f"{start!r} + {part!r} * n", repeated(start, part, size)


def repeated(start: str, part: str, size: int) -> str:
    """A text of about a size."""
    return start + part * max(1, size // len(part))


class _Walk:
    """Goes through a parsed pattern; every place gives a sample of what is before it and of it."""

    def __init__(self, found: set[tuple[str, str]]) -> None:
        self._found = found
        self._groups: dict[int, str] = {}

    def sample(self, parsed: Any, before: str) -> str:
        text = ""
        for op, argument in parsed:
            samples = self._samples(op, argument, before + text)
            for each in filter(None, samples):
                prefix = (before + text)[-_LONGEST:]
                self._found |= {("", each), (prefix, each), ("", prefix + each)}
            text += samples[0] if samples else ""
        return text

    def _samples(self, op: Any, argument: Any, before: str) -> list[str]:
        if op in (ops.MAX_REPEAT, ops.MIN_REPEAT):
            least, _, inside = argument
            once = self.sample(inside, before)
            return [once * max(least, 1), once * (least + 3), *([""] if least == 0 else [])]
        if op in (ops.BRANCH, ops.GROUPREF_EXISTS):
            branches = argument[1] if op is ops.BRANCH else argument[1:]
            return [self.sample(each, before) for each in branches if each]
        if op in (ops.SUBPATTERN, ops.ASSERT, ops.ASSERT_NOT):
            inside = self.sample(argument[-1], before)
            if op is ops.SUBPATTERN:
                self._groups[argument[0]] = inside
            return [inside] if op is ops.SUBPATTERN else []
        return _letters_of(op, argument) or [self._groups.get(argument, "")]


def _letters_of(op: Any, argument: Any) -> list[str]:
    if op is ops.LITERAL:
        return [chr(argument)]
    if op in (ops.NOT_LITERAL, ops.ANY):
        return ["b" if argument == ord("a") else "a"]
    return _letters(argument) if op is ops.IN else []


def _letters(choices: Any) -> list[str]:
    """A letter or two of a class."""
    negated, letters = False, []
    for op, argument in choices:
        if op is ops.NEGATE:
            negated = True
        elif op is ops.LITERAL:
            letters.append(chr(argument))
        elif op is ops.RANGE:
            letters.append(chr(argument[0]))
        elif op is ops.CATEGORY:
            letters.append(_CATEGORIES[argument])
    if negated:
        return [next(each for each in "a1 ([=:'-,;@~" if each not in letters)]
    return list(dict.fromkeys([letters[0], letters[-1]]))
