"""What each page of an app was shown, so that a rating finds the prediction it is meant for."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple

# bounds the memory: as many pages as Gradio keeps states of, and the last answers of each
_MAX_PAGES = 10_000
_MAX_ANSWERS = 100
_MAX_TEXT = 2_000
# of a rated message: its beginning tells answers apart
_COMPARED = 200
_PAIR = 2


class ChatBefore(NamedTuple):
    """What was said in a chat before an answer.

    Attributes:
        place: The number of messages in the history.
        history: Hash of what they say.
        question: The beginning of the message that was answered, where it is not of the history.
    """

    place: int
    history: int
    question: str


@dataclass(slots=True, kw_only=True)
class Shown:
    """A prediction that a page was shown.

    Attributes:
        request_id: The prediction's id.
        unit: The unit of an experiment that it was made for.
        tenant: The tenant of the unit.
        before: What was said in the chat before it; None outside of a chat.
        text: The texts of the answer, without line breaks.
        n_messages: At most so many messages of the chat are the answer.
    """

    request_id: str
    unit: str | None = None
    tenant: str | None = None
    before: ChatBefore | None = None
    text: str = ""
    n_messages: int = 1

    @property
    def place(self) -> int:
        """The number of messages of the chat before it; -1 outside of a chat."""
        return -1 if self.before is None else self.before.place


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

    def message(
        self,
        session_id: str | None,
        index: Any,
        content: Any,
        chat: Sequence[Any] | None = None,
    ) -> Shown | None:
        """The prediction that answered with a message of the chat; None where nobody can tell.

        The message's text must be one of the answer, and so must those of the other messages that
        the chat shows of it: a page may show conversations of earlier visits. Of equal answers its
        place decides. The answer at that place need only contain the text, as the chat may show an
        answer in parts. Equal answers at one place of several conversations are told apart by what
        was said before them, so by `chat` only; of those to the same question the later one stands
        there, as after a retry.

        Args:
            session_id: The page.
            index: The message's place in the chat; of pairs, that of the pair first.
            content: What the message says.
            chat: The messages of the chat.
        """
        place = index[0] if isinstance(index, list | tuple) else index
        said = _parts(content)
        answers = [
            each
            for each in self._of(session_id)
            if chat is None or each.before is None or _may_stand(each, each.before, place, chat)
        ]
        nearest = max((each.place for each in answers if each.place <= place), default=None)
        fitting = []
        for number, each in enumerate(answers):
            is_near = each.before is None or place - each.place <= each.n_messages
            says = is_near and _says(each.text, said)
            if says or (each.place == nearest and _contains(each.text, said)):
                rank = (each.place <= place, each.place, says, _n_equal(each, chat))
                fitting.append((rank, number, each))
        if not fitting:
            return None
        best, _, found = max(fitting, key=lambda each: each[:2])
        rivals = {each.before for rank, _, each in fitting if rank == best}
        return found if len(rivals) == 1 else None

    def _of(self, session_id: str | None) -> list[Shown]:
        with self._lock:
            return list(self._pages.get(session_id or "", ()))


def chat_before(inputs: Sequence[Any]) -> ChatBefore | None:
    """What was said before an answer, by the inputs of its function; None if they are no chat."""
    for number, value in enumerate(inputs):
        if is_chat(value):
            if not (value and _is_question(value[-1])):
                return ChatBefore(len(value), _hash(value), _text(inputs[:number][-1:])[:_COMPARED])
            if isinstance(value[-1], Mapping) or hasattr(value[-1], "role"):
                return ChatBefore(len(value), _hash(value), "")
            return ChatBefore(len(value) - 1, _hash(value[:-1]), _text(value[-1])[:_COMPARED])
    return None


def is_chat(value: Any) -> bool:
    """Whether a value is the messages of a chat, of which there may be none."""
    return isinstance(value, list) and all(map(_is_message, value))


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
        # the value of a component in a message is what Gradio made of it, not what was answered
        for name in ("content", "text", *(() if "component" in value else ("value",))):
            yield from texts(value.get(name))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from texts(part)
    elif hasattr(value, "content"):
        yield from texts(value.content)


def _parts(message: Any) -> list[str]:
    return [part[:_COMPARED] for part in texts(message)]


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


def _is_after(before: ChatBefore, place: int, chat: Sequence[Any]) -> bool:
    """Whether a message of a chat stands after what was said before an answer."""
    if before.place > place or _hash(chat[: before.place]) != before.history:
        return False
    since = chat[before.place : place + 1]
    if any(map(_is_question, since[1:])) or (isinstance(since[0], tuple | list) and since[1:]):
        return False
    return not before.question or _says(_text(since[0]), [before.question])


def _may_stand(answer: Shown, before: ChatBefore, place: int, chat: Sequence[Any]) -> bool:
    """Whether an answer may be what a chat shows around a message."""
    if not _is_after(before, place, chat):
        return False
    messages = _messages(answer, before, chat)
    # beyond its own messages stand those of other events, of which it knows nothing; of a long
    # answer not all is kept
    if place >= messages.stop or len(answer.text) == _MAX_TEXT:
        return True
    return all(_contains(answer.text, _parts(chat[each])) for each in messages)


def _n_equal(answer: Shown, chat: Sequence[Any] | None) -> int:
    """How many messages of a chat are an answer word by word; 0 if it says anything else."""
    if chat is None or answer.before is None:
        return 0
    places = _messages(answer, answer.before, chat)
    is_equal = answer_text(chat[places.start : places.stop]) == answer.text
    return len(places) if is_equal else 0


def _messages(answer: Shown, before: ChatBefore, chat: Sequence[Any]) -> range:
    """The places of the messages in a chat that are an answer, if the chat shows it."""
    first = before.place
    while first < len(chat) and _is_question(chat[first]):
        first += 1
    last = first
    while last < min(len(chat), first + answer.n_messages) and not _is_question(chat[last]):
        last += 1
    return range(first, last)


def _hash(messages: Sequence[Any]) -> int:
    return hash(tuple(_text(each) for each in messages))


def _text(value: Any) -> str:
    return "\n".join(texts(value))


def _is_question(message: Any) -> bool:
    """Whether a message is the user's; of pairs, whether it has no answer yet."""
    if isinstance(message, list | tuple):
        return not message[1]
    role = message.get("role") if isinstance(message, Mapping) else getattr(message, "role", None)
    return bool(role == "user")
