"""Whatever hides secrets hides the same ones, and leaves the same innocent things alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from argparse import Namespace
from collections import UserDict, namedtuple
from collections.abc import Callable
from dataclasses import make_dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.delivery.traces.spool import Spool, Target
from flytekitplugins.wbmon.monitor.samples.rows import Sample
from flytekitplugins.wbmon.monitor.samples.sampler import RowSampler
from flytekitplugins.wbmon.privacy.containers import redact_containers
from flytekitplugins.wbmon.privacy.patterns import redact_value
from flytekitplugins.wbmon.privacy.secrets import SecretRedactor
from flytekitplugins.wbmon.run.config_file import resolve
from flytekitplugins.wbmon.run.settings import RunSettings
from flytekitplugins.wbmon.serving import (
    PatternRedactor,
    PredictionLogger,
    PresidioRedactor,
    SamplingPolicy,
)
from support.environment import ROOT
from support.prediction_log import read_rows

PLAIN = "correct horse battery 7"
NAMES = (
    ("api", "key"), ("openai", "api", "key"), ("x", "api", "key"), ("password",),
    ("db", "password"), ("client", "secret"), ("secret", "key"), ("access", "token"),
    ("hf", "token"), ("refresh", "token"), ("authorization",), ("proxy", "authorization"),
    ("private", "key"), ("aws", "access", "key", "id"), ("credentials",), ("set", "cookie"),
    ("webhook", "url"), ("passphrase",), ("db", "passwd"), ("pwd",), ("api", "keys"),
)  # fmt: skip
SPELLINGS: tuple[Callable[[tuple[str, ...]], str], ...] = (
    "_".join,
    "-".join,
    ".".join,
    lambda words: "_".join(words).upper(),
    lambda words: "-".join(word.title() for word in words),
    lambda words: "".join(word.title() for word in words),
    lambda words: words[0] + "".join(word.title() for word in words[1:]),
)
SECRET_NAMES = sorted({spell(words) for words, spell in product(NAMES, SPELLINGS)})
INNOCENT = {
    "max_tokens": 512, "token_count": 7, "tokenizer": "bpe-32k", "password_length": 12,
    "keyboard": "qwerty us", "monkey": "see", "key": "amount", "primary_key": "order_no",
    "pad_token": "<pad>", "eosToken": "</s>", "tokens": "the cat sat", "secretary": "ada lovelace",
    "cookies_accepted": "yes", "author": "grace hopper", "token": 5, "api_key": None,
    "commit": "89abcdef0123456789abcdef0123456789abcdef", "passed": "all of them",
    "run": "0192f0c4-7b1a-7c3d-8e4f-001122334455", "model": "sk_learn_random_forest",
    "index": "pk_customers_by_country", "server": "local-inference-server",
}  # fmt: skip
A = "Ab3dEf6h"
# put together here, so that no scanner takes a test for a leak
FORMS = {
    "wandb": f"wandb_v1_{A * 5}", "openai": f"sk-proj-{A * 4}", "npm": f"npm_{A * 4}abcd",
    "anthropic": f"sk-ant-api03-{A * 4}", "stripe": f"sk_live_{A * 3}", "gitlab": f"glpat-{A * 3}",
    "github": f"ghp_{A * 4}abcd", "fine github": f"github_pat_{A * 5}",
    "slack": f"xoxb-123456789012-{A * 2}", "slack app": f"xapp-1-{A * 3}",
    "slack hook": f"https://hooks.slack.com/services/T{A}/B{A}/{A * 3}", "aws": f"AKIA{'A' * 16}",
    "google": f"AIza{A * 4}abc", "hugging face": f"hf_{A * 4}",
    "jwt": f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{A * 3}",
}  # fmt: skip
IN_TEXT = {
    **{f"a key of {who}": (f"it says {form}, and stops", form) for who, form in FORMS.items()},
    "bearer": ("it sent bearer abc.def-123456 there", "abc.def-123456"),
    "header": ("Authorization: Bearer abcdefghijkl", "abcdefghijkl"),
    "token scheme": ("authorization: token 12ab34cd56ef", "12ab34cd56ef"),
    "a header of a library": (r"headers=[(b'x-api-key', b'hunter2hunter2')]", "hunter2hunter2"),
    "cookies": ("Cookie: theme=dark; sid=hunter2; x=1\nHost: a", "hunter2"),
    "url": ("postgres://bob:hunt@er2@db.example.com/x", "er2"),
    "redis": ("redis://:hunter2@cache:6379/0", "hunter2"),
    "query": ("GET /v1?api_key=hunter2&x=1", "hunter2"),
    "azure": ("AccountKey=Zm9vYmFy0123456789==;x=1", "Zm9vYmFy0123456789"),
    "repr": (f"Client(url='x', password='{PLAIN}')", PLAIN),
    "quotes in quotes": ('{"password": "it\'s \\"hunter2\\"!"}', "hunter2"),
    "JSON in JSON": (json.dumps({"body": json.dumps({"api_key": PLAIN})}), PLAIN),
    "behind another": ("ValueError: token=abcdefgh12345 is wrong", "abcdefgh12345"),
    "yaml": ("db:\n  password: hunter2\n", "hunter2"),
    "a list": ('{"passwords": ["swordfish", "hunter2"]}', "hunter2"),
    "an object": ('{"credentials": {"user": "u", "value": "hunter2"}}', "hunter2"),
    "a pair of texts": ("headers=[('X-Api-Key', 'hunter2')]", "hunter2"),
    "a subscript": ("cfg['password']='hunter2'", "hunter2"),
    "another scheme": ("Authorization: ApiKey hunter2hunter2", "hunter2"),
    "signature": ("https://store/blob?sv=2026&sig=hunter2%3D&x=1", "hunter2"),
    "signature of S3": ("https://b/k?X-Amz-Signature=hunter2", "hunter2"),
}
PROSE = (
    "the token: a word piece", "max_tokens=512, token_count: 7", "unexpected token: identifier",
    "basic end-to-end training", "the bearer of bad news", "std::vector<int> x = 5",
    "https://example.com:8080/a@b", "git@github.com:a/b.git", "password_length: 12",
    "passwords: [] and secrets = {}", "columns ('amount', 'hour')",
    "cookies are baked at 180 degrees", "sk-learn and pk-tables", "keyboard=qwerty",
)  # fmt: skip


class Analyzer:
    """Finds nothing by itself."""

    def analyze(self, *, text: str, language: str) -> list[object]:
        return []


def in_prediction_log(value: Any, folder: Path) -> str:
    log = PredictionLogger("s", str(folder), sampling=SamplingPolicy(rate=1.0), max_text=1_000_000)
    features = value if isinstance(value, dict) else {}
    log.log_prediction(input_text=value, features=features, error=ValueError(repr(value)))
    log.close()
    (row,) = read_rows(folder, "prediction")
    return repr(row)


def in_yaml(value: Any, folder: Path) -> str:
    path = folder / "config.yaml"
    path.write_text(json.dumps({"user": value}))
    return repr(resolve(path)[1])


def in_trace(value: Any, folder: Path) -> str:
    target = Target(entity="e", project="p", trace_url="http://x")
    spool = Spool(folder, target, redact=SecretRedactor().text)
    spool.write("call_start", {"start": {"inputs": {"given": json.loads(json.dumps(value))}}})
    spool.close()
    return (spool.folder / "records.jsonl").read_text()


def in_sample(value: Any, folder: Path) -> str:
    sampler = RowSampler(Sample(rows=1))
    sampler.add(pa.table({"given": [json.dumps(value)], "y": ["a"]}), predicted=("y",))
    return repr(sampler.record())


def in_config(value: Any, folder: Path) -> str:
    settings = RunSettings(project="p", entity="e", init={"config": Namespace(user=value)})
    return repr(settings.init)


CONTAINERS: dict[str, Callable[[Any, Path], str]] = {
    "prediction log": in_prediction_log,
    "YAML": in_yaml,
    "trace": in_trace,
    "W&B config": in_config,
}
TEXTS: dict[str, Callable[[str, Path], str]] = {
    "message": lambda text, _: SecretRedactor().text(text),
    "patterns": lambda text, _: PatternRedactor().text(text)[0],
    "presidio": lambda text, _: PresidioRedactor(Analyzer()).text(text)[0],
    "sample": in_sample,
    **CONTAINERS,
}
PLACES = pytest.mark.parametrize("place", TEXTS)


@pytest.mark.parametrize("place", CONTAINERS)
def test_every_name_of_a_secret_hides_what_it_holds(place: str, tmp_path: Path) -> None:
    planted = {name: f"correct horse {i} staple" for i, name in enumerate(SECRET_NAMES)}
    written = CONTAINERS[place](planted, tmp_path)

    assert [name for name, secret in planted.items() if secret in written] == []
    assert len(SECRET_NAMES) > 80


@PLACES
def test_every_name_of_a_secret_is_known_in_text(place: str, tmp_path: Path) -> None:
    planted = {name: f"correct horse {i} staple" for i, name in enumerate(SECRET_NAMES)}
    written = TEXTS[place](f"could not use {planted} nor {json.dumps(planted)}", tmp_path)

    assert [name for name, secret in planted.items() if secret in written] == []


@PLACES
def test_every_form_of_a_secret_is_hidden_in_text(place: str, tmp_path: Path) -> None:
    for what, (text, secret) in IN_TEXT.items():
        folder = tmp_path / what.replace(" ", "-")
        folder.mkdir()
        assert secret not in TEXTS[place](text, folder), what


@pytest.mark.parametrize("place", [*CONTAINERS, "redact_value"])
def test_innocent_configurations_are_left_alone(place: str, tmp_path: Path) -> None:
    if place == "redact_value":
        assert redact_value(PatternRedactor(), INNOCENT) == (INNOCENT, 0)
        return
    written = CONTAINERS[place](INNOCENT, tmp_path)
    assert "[SECRET]" not in written
    assert "[KEY]" not in written


@PLACES
def test_innocent_prose_is_left_alone(place: str, tmp_path: Path) -> None:
    written = TEXTS[place]("\n".join(PROSE), tmp_path)
    assert re.findall(r"\[(?:SECRET|KEY|TOKEN|CREDENTIALS)\]", written) == []


Point = namedtuple("Point", ["x", "api_key"])
Login = make_dataclass("Login", ["user", "password"])
WRAPPERS: tuple[Callable[[str, Any], Any], ...] = (
    lambda name, secret: {name: secret},
    lambda name, secret: {name.encode(): secret.encode()},
    lambda name, secret: {"headers": [(name.encode(), secret.encode()), (b"host", b"a")]},
    lambda name, secret: {name: [secret, {"deep": secret}]},
    lambda name, secret: [[name, secret]],
    lambda name, secret: ({"a": ({name: secret},)},),
    lambda _, secret: Point(1, secret),
    lambda _, secret: {"login": Login("bob", secret)},
    lambda name, secret: Namespace(api_key=secret),
    lambda name, secret: UserDict({name: secret}),
    lambda name, secret: np.array([{name: secret}], dtype=object),
)


@given(
    st.sampled_from(SECRET_NAMES),
    st.from_regex(r"[a-z]{3,8} [a-z]{3,8}[0-9]{1,3} [a-z]{4,8}", fullmatch=True),
    st.sampled_from(WRAPPERS),
    st.lists(st.sampled_from((lambda x: {"k": x}, lambda x: [1, x], lambda x: (x,))), max_size=4),
)
def test_no_container_lets_a_secret_through(
    name: str, secret: str, wrap: Callable[..., Any], around: list[Callable[[Any], Any]]
) -> None:
    value = wrap(name, secret)
    for more in around:
        value = more(value)

    assert secret not in repr(SecretRedactor().value(value))
    left, n = redact_value(PatternRedactor(), value)
    assert secret not in repr(left)
    assert n >= 1


def test_a_password_of_digits_is_one_and_a_count_of_tokens_none() -> None:
    given = {"db_password": 271828, "token": 17, "secret": True, "cookie": 0.5}
    assert SecretRedactor().value(given) == {**given, "db_password": "[SECRET]"}


def test_an_object_stays_what_it_is_unless_it_shows_a_secret() -> None:
    class Client:
        def __init__(self, shown: str) -> None:
            self.shown = shown

        def __repr__(self) -> str:
            return f"Client({self.shown})"

    innocent, telling = Client("x=1"), Client("api_key='hunter2hunter2'")
    numbers = np.arange(3)
    given = {"a": innocent, "b": telling, "path": Path("data/x"), "n": numbers, "t": np.float32}
    left = SecretRedactor().value(given)
    assert left["n"] is numbers
    assert left["t"] is np.float32
    assert left["a"] is innocent
    assert left["b"] == "Client(api_key='[SECRET]')"
    assert left["path"] == Path("data/x")


HOSTILE = (
    "aB3-" * 25_000 + " @", "ey-" * 33_000, "a" * 100_000 + " @ password=", "eyaaaaaaaa." * 9_000,
    "password=" * 11_000, "password='" * 10_000, "cookie:" * 14_000, "\\" * 100_000 + "password=x",
    "password=\"" + "\\" * 100_000, "password" + " " * 100_000, "bearer " * 14_000, "@a." * 33_000,
    "://a:" * 20_000, "-----BEGIN " * 9_000, "DE89 " * 20_000, "1 " * 50_000, ":" * 100_000,
    "sk-" * 33_000, "api_key.token-" * 7_000 + ":", "a@" * 50_000, "[" * 100_000 + "\\u0040",
    "password=\"" + "'x" * 50_000, "cookie=" + "a" * 100_000, "authorization: " * 6_000,
    "--password " * 9_000, "auth=(" * 16_000, "'name': 'password', 'value': '" * 3_000,
    "postgres://u:" + "@a" * 50_000, "://" + "a1" * 50_000, "://a:b@c" * 12_000,
    "auth=(" + "(" * 90_000,
    ":thin:a/b" * 11_000, "://u:" + " '" * 50_000, "sig=" * 25_000, "sk-proj-" * 12_000 + "=",
    "password\n  " * 8_000 + "input_value=", "token\n  a [type=b, input_value=" * 3_000,
    "'loc': ('password'), 'msg': '" * 4_000 + "input'", "<password " * 9_000 + "</",
    "<password>" * 9_000 + "</",
    "curl -u " + "a:" * 40_000, "curl " + "-u a" * 20_000, "password=a" + ",b" * 50_000,
    "://[KEY]" * 12_000,
    "password=" + "a&" * 50_000, "key-" * 25_000, "pat" + "a" * 90_000,
    "\n" * 90_000 + "token input_value=",
    "dp.pt." * 16_000, "token\n  " + "[type=" * 16_000 + "input_value=",
    "hooks.slack.com/services/" * 4_000, "123456789:" * 10_000, "password --" + "-a" * 50_000,
    "password '--a', " * 6_000, "key: \"name\\" + "\\" * 90_000 + "\" value\"",
)  # fmt: skip


def test_no_text_makes_a_pattern_go_wild() -> None:
    """In a process of its own, which ends by a signal at twenty times the work that it takes."""
    script = (
        "import json, resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (20, 20))\n"
        "from flytekitplugins.wbmon.privacy.secrets import SecretRedactor\n"
        "from flytekitplugins.wbmon.serving import PatternRedactor\n"
        "for text in json.load(sys.stdin):\n"
        "    PatternRedactor().text(text)\n"
        "    SecretRedactor().text(text)\n"
    )
    subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(HOSTILE).encode(),
        check=True,
        cwd=ROOT,
    )


def tables(secret: str) -> dict[str, Any]:
    """A password by name, in what holds values by name."""
    frame = pd.DataFrame({"amount": [1.5], "password": [secret]})
    return {
        "series": frame.loc[0],
        "frame": frame,
        "polars": pl.DataFrame({"password": [secret]}),
        "structured array": np.array([(secret, 1)], dtype=[("password", "U40"), ("n", int)]),
        "tuple as a name": {("db", "password"): secret},
    }


@pytest.mark.parametrize("kind", sorted(tables("")))
def test_tables_and_columns_hide_what_is_stored_under_the_name_of_a_secret(kind: str) -> None:
    found = redact_containers({"outer": tables(PLAIN)[kind]}, lambda text: (text, 0))
    assert PLAIN not in str(found.value)
    assert found.n > 0


def test_tables_without_a_secret_are_left_as_they_are() -> None:
    frame = pd.DataFrame({"amount": [1.5], "password_length": [12]})
    found = redact_containers([frame, frame["amount"]], lambda text: (text, 0))
    assert found.n == 0
    assert found.value[0] is frame


class PodVariable:
    """An object that tells its content as a dict, as those of the Kubernetes client do."""

    def to_dict(self) -> dict[str, str]:
        return {"name": "DB_PASSWORD", "value": PLAIN}


def test_the_value_beside_the_name_of_a_secret_is_hidden_and_counted() -> None:
    for variable in (PodVariable(), PodVariable().to_dict()):
        found = redact_containers({"env": [variable]}, lambda text: (text, 0))
        assert found.value == {"env": [{"name": "DB_PASSWORD", "value": "[SECRET]"}]}
        assert found.n == 1
    innocent = {"name": "tenant", "value": "acme", "unit": 3}
    assert redact_containers(innocent, lambda text: (text, 0)) == (innocent, 0)


class Odd:
    """Has the methods of a table, and none of them works."""

    to_dict = True

    def tolist(self, how: str) -> list[str]:
        raise RuntimeError(how)


def test_an_object_that_only_looks_like_a_table_is_told_by_its_text() -> None:
    found = redact_containers({"model": Odd()}, lambda text: (text, 0))
    assert isinstance(found.value["model"], Odd)


NESTED = {
    "passwords": [PLAIN],
    "credentials": {"user": "u", "value": PLAIN},
    "headers": [["X-Api-Key", PLAIN]],
    "env": [{"name": "DB_PASSWORD", "value": PLAIN}],
    "db_password": 87654321,
}


@pytest.mark.parametrize("store", [in_trace, in_config, in_yaml, in_prediction_log])
def test_nested_secrets_are_hidden_wherever_they_go(store: Any, tmp_path: Path) -> None:
    kept = store(NESTED, tmp_path)
    assert PLAIN not in kept
    assert "87654321" not in kept


@pytest.mark.parametrize(
    "secret", ["jane.doe.private@example.com", "AKIAIOSFODNN7EXAMPLE", "4111 1111 1111 1111"]
)
@pytest.mark.parametrize("before", range(225, 262, 3))
def test_what_a_category_is_cut_to_holds_no_part_of_a_secret(
    secret: str, before: int, tmp_path: Path
) -> None:
    log = PredictionLogger("s", str(tmp_path), sampling=SamplingPolicy(rate=1.0))
    log.log_prediction(features={"note": f"{'p ' * before}"[:before] + f" {secret}"})
    log.close()
    (row,) = read_rows(tmp_path, "prediction")
    kept = row["cat_features"]["note"]
    assert len(kept) <= 256
    assert secret[:6] not in kept


@pytest.mark.parametrize("redactor", [PatternRedactor(), None])
def test_a_number_stays_a_feature_whatever_its_name_unless_it_may_be_a_password(
    redactor: Any, tmp_path: Path
) -> None:
    kept = {"has_cookie": True, "mean_token": 3.5, "token": 7, "n": 1}
    log = PredictionLogger("s", str(tmp_path), sampling=SamplingPolicy(rate=1.0), redactor=redactor)
    log.log_prediction(features={**kept, "password": 87654321})
    log.close()
    (row,) = read_rows(tmp_path, "prediction")
    if redactor is None:
        assert row["features"] == {**kept, "password": 87654321}
    else:
        assert row["features"] == kept
        assert row["cat_features"] == {"password": "[SECRET]"}


def test_a_trace_may_be_nested_deeply(tmp_path: Path) -> None:
    value: Any = "the innermost"
    for _ in range(60):
        value = {"message": value}
    assert "the innermost" in in_trace(value, tmp_path)
