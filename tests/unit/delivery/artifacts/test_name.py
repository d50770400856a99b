"""Names of artifacts, and the alias of a folder that stands for one."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flytekitplugins.wbmon.delivery.artifacts.name import alias_of, require_artifact_name
from flytekitplugins.wbmon.errors import ConfigError

CLOUD = "https://api.wandb.ai"


@pytest.mark.parametrize(
    "name",
    [
        "ops/payments/payments-profile:production",
        "ops/p/x:v3",
        "my team/wandb-registry-model/x:best model",
        "o.p_s/p/x:latest",
    ],
)
def test_a_full_name_is_taken(name: str) -> None:
    require_artifact_name("wandb_artifact", name)


@pytest.mark.parametrize(
    "name",
    [
        "payments-profile:production", "p/x:production", "ops/p/x", "ops/p/x:", "ops//x:a",
        "ops/p/x:a:b", "ops/p/x/y:a", "ops/p/x: a", " ops/p/x:a", "ops/p/x:a\n", "ops/p/x y:a",
        "ops/p/x:a\x00", "https://wandb.ai/ops/p/x:a", "", " ", None, 3, ["ops/p/x:a"],
    ],
)  # fmt: skip
def test_anything_else_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match="wandb_artifact must name an artifact and its alias"):
        require_artifact_name("wandb_artifact", name)


def test_each_artifact_of_each_server_has_an_alias_of_its_own() -> None:
    names = ["a.b/c/d:e", "a/b.c/d:e", "a/b/c:d e", "a/b/c:d-e", "ä/b/c:d", "ö/b/c:d", "a" * 300]
    aliases = {alias_of(name, host) for name in names for host in (CLOUD, "https://w.example.com")}
    assert len(aliases) == 2 * len(names)
    # what a folder of references takes for an alias, and for no digest
    assert all(re.fullmatch(r"wandb\.[A-Za-z0-9._-]{1,80}", alias) for alias in aliases)


@pytest.mark.parametrize(
    "same",
    [
        "HTTPS://w.example.com", "https://W.Example.COM", "https://w.example.com/",
        "https://w.example.com:443",
    ],
)  # fmt: skip
def test_the_alias_is_one_however_the_server_is_written(same: str) -> None:
    one = "https://w.example.com"
    assert alias_of("a/b/c:d", same) == alias_of("a/b/c:d", one)
    for other in ("http://w.example.com", f"{one}:8443", f"{one}/x", f"{one}/X"):
        assert alias_of("a/b/c:d", other) != alias_of("a/b/c:d", one)
