"""What the function of a Gradio event is, is given and gives back, whatever way it is written."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, get_type_hints

Kind = Literal["function", "coroutine", "generator", "async generator"]

_PAGE = "wbmon_request"
# given by Gradio itself, and no inputs of the model; some hold tokens of the user
_SPECIAL = ("Request", "EventData", "OAuthProfile", "OAuthToken", "Header", "Progress", "Cache")

_UNCHANGED = object()


class EventFunction:
    """A function of an event: also a method, a partial, a lambda or an object with `__call__`.

    Args:
        fn: The function.
        gr: Gradio itself.

    Attributes:
        name: Its name.
        kind: How it is called.
    """

    def __init__(self, fn: Callable[..., Any], gr: Any) -> None:
        self.call = fn
        self._request = gr.Request
        plain: Any = fn
        while isinstance(plain, functools.partial):
            plain = plain.func
        self.name = str(getattr(plain, "__name__", type(plain).__name__))
        if not (inspect.isroutine(plain) or inspect.isclass(plain)):
            plain = plain.__call__
        self.kind = _kind(plain)
        self._hints = _hints(plain)
        # one that this version of Gradio does not have is not given either
        self._special = tuple(getattr(gr, name) for name in _SPECIAL if hasattr(gr, name))
        try:
            self._signature = inspect.signature(fn)
        except ValueError:  # of a few that are written in C
            every = inspect.Parameter("inputs", inspect.Parameter.VAR_POSITIONAL)
            self._signature = inspect.Signature([every])

    def inputs(self, given: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs of the model by name."""
        try:
            bound = self._signature.bind_partial(*given, **named).arguments
        except TypeError:  # too many: the call will say so
            bound = dict(zip(self._signature.parameters, given, strict=False))
        return {
            name: _labelled(value)
            for name, value in bound.items()
            if not isinstance(value, self._special)
        }

    def dress(self, wrapped: Callable[..., Any], *, takes_page: bool) -> Callable[..., Any]:
        """Give a wrapper the name, the signature and the hints of the function.

        Gradio reads them to decide what it passes.

        Args:
            wrapped: The wrapper.
            takes_page: Whether it takes a `gr.Request` before the function's own parameters.
        """
        attributes = getattr(self.call, "__dict__", {}) if inspect.isroutine(self.call) else {}
        wrapped.__dict__.update(attributes)
        wrapped.__dict__.pop("__wrapped__", None)
        for name in ("__module__", "__doc__"):
            setattr(wrapped, name, getattr(self.call, name, None))
        # as Gradio names the event of a function that has no name
        wrapped.__name__ = getattr(self.call, "__name__", type(self.call).__name__)
        wrapped.__qualname__ = getattr(self.call, "__qualname__", wrapped.__name__)
        signature, hints = self._signature, self._hints
        if takes_page:
            kind = inspect.Parameter.POSITIONAL_ONLY
            page = inspect.Parameter(_PAGE, kind, annotation=self._request)
            signature = signature.replace(parameters=[page, *signature.parameters.values()])
            hints = {**hints, _PAGE: self._request}
        wrapped.__signature__ = signature  # type: ignore[attr-defined]
        wrapped.__annotations__ = hints
        return wrapped


def user_of(page: Any) -> str | None:
    """The user who is logged in to a page, by `launch(auth=…)` or a `gr.LoginButton`."""
    user = getattr(page, "username", None)
    scope = getattr(getattr(page, "request", None), "scope", None)
    if user is None and isinstance(scope, dict):
        login = scope.get("session", {}).get("oauth_info") or {}
        user = login.get("userinfo", {}).get("preferred_username")
    return None if user is None else str(user)


def unit_of(page: Any, unit: Callable[[Any], str | None] | None) -> str | None:
    """The unit of experiments: what the app says, else the user, else the session."""
    told = None if unit is None else unit(page)
    if told is None or told == "":
        return user_of(page) or getattr(page, "session_hash", None)
    return str(told)


def shown_values(given: Any) -> list[Any]:
    """The values that an event's outputs show the user; those that do not change are left out."""
    values = given if isinstance(given, tuple) else (given,)
    return [plain for plain in map(_value, values) if plain is not _UNCHANGED]


def said_values(given: Any) -> list[Any]:
    """What an event's outputs say in a chat: each of its messages, or each value that is none."""
    said: list[Any] = []
    for value in given if isinstance(given, tuple) else (given,):
        for part in map(_plain, value.values() if _has_labels(value) else (value,)):
            said += [] if part is _UNCHANGED else _said(part)
    return said


def liked(event: Any) -> Mapping[str, Any] | None:
    """What the event of a liked message says; None of any other event."""
    data = getattr(event, "_data", None)
    return data if isinstance(data, Mapping) and {"index", "value"} <= data.keys() else None


def _kind(fn: Callable[..., Any]) -> Kind:
    if inspect.isasyncgenfunction(fn):
        return "async generator"
    if inspect.isgeneratorfunction(fn):
        return "generator"
    return "coroutine" if inspect.iscoroutinefunction(fn) else "function"


def _hints(fn: Callable[..., Any]) -> dict[str, Any]:
    # as texts they mean something in the module of the function only; Gradio does not know those
    # that cannot be read there either
    with suppress(NameError, TypeError):
        return get_type_hints(fn)
    return {}


def _value(value: Any) -> Any:
    """A value without what the components of Gradio put around it."""
    value = _plain(value)
    if _is_chat(value):
        return _value(value[-1])  # of a chat, what was said last
    if _role(value) is not None:
        return value["content"] if isinstance(value, Mapping) else value.content
    return _labelled(value)


def _plain(value: Any) -> Any:
    """What a component is to show, of an output that says so by an update of it."""
    if isinstance(value, Mapping) and value.get("__type__") == "update":  # also `gr.skip()`
        return value.get("value", _UNCHANGED)
    if _is_component(value):  # in place of another, of which it says what is to change
        return getattr(value, "constructor_args", {}).get("value", _UNCHANGED)
    return value


def _said(value: Any) -> list[Any]:
    """The messages of an answer, which of a chat are those after the last of the user."""
    if not isinstance(value, list):
        return [value]
    asked = [place for place, each in enumerate(value) if _role(each) == "user"]
    return value[asked[-1] + 1 :] if asked and _is_chat(value) else value


def _labelled(value: Any) -> Any:
    """A mapping of components with their labels; anything else as it is."""
    if not _has_labels(value):
        return value
    named: dict[str, Any] = {}
    for block, part in value.items():
        label = str(getattr(block, "label", None) or type(block).__name__)
        named[label if label not in named else f"{label} {len(named)}"] = _value(part)
    return {label: part for label, part in named.items() if part is not _UNCHANGED}


def _is_chat(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and _role(value[-1]) is not None


def _has_labels(value: Any) -> bool:
    return isinstance(value, Mapping) and any(map(_is_component, value))


def _is_component(value: Any) -> bool:
    return hasattr(value, "get_config") and not inspect.isclass(value)


def _role(value: Any) -> Any:
    return value.get("role") if isinstance(value, Mapping) else getattr(value, "role", None)
