"""Secrets planted in every container, name and format, drawn by hypothesis; each is told apart."""

from __future__ import annotations

import enum
from argparse import Namespace
from collections import UserDict, deque, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pydantic
import pydantic.v1
from hypothesis import given, settings
from hypothesis import strategies as st

from support.config_names import FRAMES, SECRET_NAMES

Login = namedtuple("Login", ["user", "password"])
Account = make_dataclass("Account", ["user", "api_key"])


class Server(pydantic.BaseModel):
    """Extra fields are shown as those of the class."""

    model_config = pydantic.ConfigDict(extra="allow")
    host: str = "db"


class OldServer(pydantic.v1.BaseModel):
    """As pydantic 1 has it."""

    host: str = "db"
    client_secret: str = ""


class Slots:
    """As attrs makes a class of slots."""

    __slots__ = ("db_pw", "user")
    __attrs_attrs__ = tuple(SimpleNamespace(name=name) for name in __slots__)

    def __init__(self, user: str, db_pw: str) -> None:
        self.user, self.db_pw = user, db_pw

    def __repr__(self) -> str:
        return f"Slots({self.user}, {self.db_pw})"


class Telling:
    """Says what it holds without a name."""

    def __init__(self, password: str) -> None:
        self.password = password

    def __repr__(self) -> str:
        return f"Telling({self.password}, 1)"


@dataclass(frozen=True)
class Planted:
    """One secret.

    Attributes:
        what: Where it is, in words.
        mark: A text that is in no other secret, and must not be found anywhere.
        value: What holds it.
    """

    what: str
    mark: str
    value: Any


# what holds a secret under a name, or whatever the name is
CONTAINERS: tuple[Callable[[str, str], Any], ...] = (
    lambda name, secret: {name: secret},
    lambda name, secret: {name: [secret, "b"]},
    lambda name, secret: {name: {"deep": {"er": secret}}},
    lambda name, secret: {name.encode(): secret.encode()},
    lambda name, secret: [(name, secret)],
    lambda name, secret: ({"a": ({name: secret},)},),
    lambda name, secret: {"env": [{"name": name, "value": secret}]},
    lambda name, secret: {"tags": [{"Key": name, "Value": secret}]},
    lambda name, secret: ["tool", f"--{name.lstrip('-')}", secret, "--verbose"],
    lambda name, secret: pd.Series([secret], name=name),
    lambda name, secret: pd.DataFrame({name: [secret]}),
    lambda name, secret: Namespace(**{name: secret}),
    lambda name, secret: SimpleNamespace(**{name: secret}),
    lambda name, secret: UserDict({name: secret}),
    lambda name, secret: deque([{name: secret}]),
    lambda name, secret: {1: {name: secret}}.values(),
    lambda name, secret: Server(**{name: secret}),
    lambda name, secret: {"settings": f"Settings({name}={secret!r}, n=1)"},
    lambda name, secret: enum.Enum("Kind", {name: secret})(secret),
    lambda _, secret: Login("bob", secret),
    lambda _, secret: Account("bob", secret),
    lambda _, secret: OldServer(client_secret=secret),
    lambda _, secret: Slots("bob", secret),
    lambda _, secret: [Telling(secret)],
    lambda _, secret: pydantic.SecretStr(secret),
    lambda _, secret: {"auth": ("bob", secret)},
)
TELLING_TEXTS = tuple(FRAMES)


def plant(n: int) -> list[Planted]:
    """The same secrets each time: about `n`, some by the name and some by the text around them."""
    planted: list[Planted] = []
    odd = st.text("abz09 '@/:!#%+=~-_.", max_size=12).map(lambda text: text.strip(" '"))

    plain = st.text("abcXYZ019", min_size=10, max_size=30)

    @settings(max_examples=n, derandomize=True, database=None, deadline=None)
    @given(st.data())
    def draw(data: st.DataObject) -> None:
        mark = f"cnry{len(planted):04d}Zq9"
        if data.draw(st.booleans()):
            wrap = data.draw(st.sampled_from(range(len(CONTAINERS))))
            name = data.draw(st.sampled_from(SECRET_NAMES))
            secret = mark + data.draw(odd)
            planted.append(
                Planted(f"container {wrap}, {name}", mark, CONTAINERS[wrap](name, secret))
            )
        else:
            frame = data.draw(st.sampled_from(TELLING_TEXTS))
            planted.append(Planted(frame, mark, FRAMES[frame].format(mark + data.draw(plain))))

    draw()
    return planted
