"""What each page of an app was shown, so that a rating finds the prediction it is meant for."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

# bounds the memory: as many pages as Gradio keeps states of, and the last answers of each
_MAX_PAGES = 10_000
_MAX_ANSWERS = 100
_MAX_TEXT = 2_000
# of a rated message: its beginning tells answers apart
_COMPARED = 200
_PAIR = 2


@dataclass(slots=True, kw_only=True)
class Shown:
    """A prediction that a page was shown.

    Attributes:
        request_id: The prediction's id.
        unit: The unit of an experiment that it was made for.
        place: The number of messages of the chat before it; None outside of a chat.
        text: The texts of the answer, without line breaks.
    """

    request_id: str
    unit: str | None = None
    place: int | None = None
    text: str = ""


class ShownPredictions:
    """Remembers the last predictions of each page, in the process, as Gradio's own states are.

    One object belongs to a function and the ratings of its answers. With several processes, each
    page must stay with one of them, as Gradio itself demands.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._pages: OrderedDict[str, deque[Shown]] = OrderedDict()

    def add(self, session_id: str, shown: Shown) -> None:
        """Note a prediction as the last one of a page."""
        with self._lock:
            answers = self._pages.setdefault(session_id, deque(maxlen=_MAX_ANSWERS))
            answers.append(shown)
            self._pages.move_to_end(session_id)
            if len(self._pages) > _MAX_PAGES:
                self._pages.popitem(last=False)

    def last(self, session_id: str | None) -> Shown | None:
        """The last prediction of a page."""
        answers = self._of(session_id)
        return answers[-1] if answers else None

    def message(self, session_id: str | None, index: Any, content: Any) -> Shown | None:
        """The prediction that answered with a message of the chat.

        The message's text must be one of the answer: a page may show conversations of earlier
        visits. Of equal answers its place decides. The answer at that place need only contain the
        text, as the chat may show an answer in parts.

        Args:
            session_id: The page.
            index: The message's place in the chat; of pairs, that of the pair first.
            content: What the message says.
        """
        place = index[0] if isinstance(index, list | tuple) else index
        said = [part[:_COMPARED] for part in texts(content)]
        answers = [
            (-1 if each.place is None else each.place, each) for each in self._of(session_id)
        ]
        nearest = max((at for at, _ in answers if at <= place), default=None)
        fitting = [
            # of one place the later answer is the one that stands there, as after a retry
            ((at <= place, at, number), answer)
            for number, (at, answer) in enumerate(answers)
            if _says(answer.text, said) or (at == nearest and _contains(answer.text, said))
        ]
        return max(fitting, key=lambda each: each[0])[1] if fitting else None

    def _of(self, session_id: str | None) -> list[Shown]:
        with self._lock:
            return list(self._pages.get(session_id or "", ()))


def chat_place(inputs: Sequence[Any]) -> int | None:
    """The number of messages in the chat's history among the inputs; None if there is no chat."""
    for value in inputs:
        if isinstance(value, list) and all(map(_is_message, value)):
            return len(value)
    return None


def answer_text(value: Any) -> str:
    """The texts of an answer, bounded, to find a message in."""
    return "\n".join(texts(value))[:_MAX_TEXT]


def texts(value: Any) -> Iterator[str]:
    """The texts in a message or several, without line breaks, which the chat may change."""
    if isinstance(value, str):
        text = " ".join(value.split())
        if text:
            yield text
    elif isinstance(value, Mapping):
        for name in ("content", "text", "value"):
            yield from texts(value.get(name))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from texts(part)
    elif hasattr(value, "content"):
        yield from texts(value.content)


def _says(answer: str, parts: Sequence[str]) -> bool:
    """Whether one of the texts of an answer is a part of a message."""
    ends = ("" if len(part) == _COMPARED else "\n" for part in parts)
    return any(f"\n{part}{end}" in f"\n{answer}\n" for part, end in zip(parts, ends, strict=True))


def _contains(answer: str, parts: Sequence[str]) -> bool:
    """Whether an answer may be a message: without texts, as of pictures, nobody knows."""
    return not answer or not parts or any(part in answer for part in parts)


def _is_message(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "role" in value
    return hasattr(value, "role") or (isinstance(value, list | tuple) and len(value) == _PAIR)
