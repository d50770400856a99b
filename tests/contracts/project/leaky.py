"""Tracked tasks that know a key and a password, to see where these end up."""

from __future__ import annotations

import logging
import os

from flytekit import Deck, Secret, current_context, map_task, task, workflow
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import PerformanceCheck, current_run, wandb_init

logging.basicConfig(level=logging.DEBUG)

PASSWORD = os.environ["PLANTED_PASSWORD"]
tracked = wandb_init(
    project="payments",
    entity="ops",
    secret=Secret(group="wandb", key="api_key"),
    api_host=os.environ["API_HOST"],
    delivery_timeout_s=float(os.environ["DELIVERY_TIMEOUT_S"]),
    config={
        "learning_rate": 0.1,
        "database_password": PASSWORD,
        "database": {"url": f"postgresql://reader:{PASSWORD}@db.example.com/payments"},
        "headers": [{"authorization": f"Bearer {PASSWORD}"}],
    },
)


@tracked
@task(enable_deck=True)
def train(fail: bool) -> float:
    """Log, show, and end one way or the other."""
    current_run().log({"loss": 0.5})
    Deck("Training", "<b>done</b>")
    if fail:
        raise RuntimeError("the database said no")
    return 0.5


@tracked
@task
def tell(fail: bool) -> float:
    """Fail with a message that holds the key: what the user writes there is out of our hands."""
    key = current_context().secrets.get("wandb", "api_key")
    if fail:
        raise RuntimeError(f"cannot log in with {key}, password={PASSWORD}")
    return 0.5


@task
def square(x: int) -> int:
    """Mapped below."""
    return x * x


@workflow
def compiled(data: StructuredDataset) -> None:
    """Tasks whose tracking travels in the compiled workflow."""
    checks = [
        tracked(PerformanceCheck(f"check.{name}", task="regression", label="y", prediction=name))
        for name in ("a", "b")
    ]
    for check in checks:
        check(data=data)
    tracked(map_task(square))(x=[1, 2])
