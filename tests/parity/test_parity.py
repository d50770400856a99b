"""The same script in plain wandb and under `wandb_init` leaves the same at W&B; `make parity`."""

from __future__ import annotations

import os
from typing import Any

import pytest

from support.environment import ROOT
from tests.parity.compare import compare
from tests.parity.intended import INTENDED, unintended
from tests.parity.scripts import make_script

N_SCRIPTS = int(os.environ.get("PARITY_SCRIPTS", "4"))

_NAN = ["$float", "nan"]
_EVERY_CALL: list[Any] = [
    ["print", "a line"],
    [
        "log",
        {"loss": 1, "nan": _NAN, "deep": {"er": 2, "inf": ["$float", "inf"]}, "none": None},
        {},
    ],
    ["log", {"loss": 0.5, "text": "ü", "big": ["$int", "1" + "0" * 29]}, {"step": 5}],
    ["log", {"loss": 0.25}, {"step": 5}],
    ["log", {"loss": 9}, {"step": 3}],
    ["log", {"a": ["$numpy", "float32", 1.1]}, {"commit": False}],
    ["log", {"b": ["$tensor", 2.5], "c": ["$datetime", "2026-01-31T00:00:00"]}, {}],
    ["log", {"table": ["$table", ["x"], [[1]]], "html": ["$html", "<b>b</b>"]}, {}],
    ["log", {"images": [["$image", 2, None], ["$image", 2, "two"]]}, {}],
    ["log", {"histogram": ["$histogram", [1, 2, 2]], "bytes": ["$bytes", "b"]}, {}],
    ["log", {"bad": ["$complex", 1, 2]}, {}],
    ["define_metric", "loss", {"summary": "min,max"}],
    ["define_metric", "deep/*", {"step_metric": "loss"}],
    ["set_summary", "kept", _NAN],
    ["set_summary", "gone", 1],
    ["delete_summary", "gone"],
    ["update_summary", {"deep": {"er": {"est": 1}}, "none": None}],
    ["config", {"rate": 0.2}, {"allow_val_change": True}],
    ["config", {"rate": 0.3}, {}],
    ["alert", "drift", "psi 0.4", {"level": "WARN", "wait_duration": 300}],
    ["artifact", "model", {"a.txt": "one"}, {"type": "model", "metadata": {"n": 1}}, {}],
    ["artifact", "model", {"a.txt": "two"}, {"type": "model"}, {"aliases": ["best"]}],
    ["artifact", "model", {"a.txt": "two"}, {"type": "model"}, {"aliases": ["best"]}],
    ["set", "name", "another name"],
    ["set", "notes", "other notes"],
    ["add_tags", ["added"]],
    ["save", "deep/saved.txt", "saved", {"policy": "end"}],
    ["mark_preempting"],
    ["read", "step"],
]
_INIT = {
    "config": {"rate": 0.1, "layers": [1, {"n": 2}]},
    "group": "g",
    "job_type": "j",
    "name": "n",
    "notes": "notes",
    "tags": ["t"],
}
_SCRIPTS = [
    {
        "id": "everything",
        "sessions": [{"init": {**_INIT, "console": True}, "calls": _EVERY_CALL, "end": ["return"]}],
    },
    {
        "id": "resumed",
        "sessions": [
            {
                "init": {**_INIT, "resume": "allow"},
                "calls": [
                    ["log", {"loss": 1}, {"step": 10}],
                    ["set_summary", "kept", {"deep": 1}],
                    ["artifact", "model", {"a.txt": "one"}, {"type": "model"}, {}],
                ],
                "end": ["raise", "lost"],
            },
            {
                "init": {"resume": "allow", "config": {"second": 1}},
                "calls": [
                    ["log", {"loss": 2}, {"step": 20}],
                    ["log", {"loss": 3}, {}],
                    ["log", {"loss": 4}, {"step": 30}],
                    ["artifact", "model", {"a.txt": "two"}, {"type": "model"}, {}],
                    ["add_tags", ["other"]],
                ],
                "end": ["exit", 3],
            },
        ],
    },
    {
        "id": "failed",
        "sessions": [{"init": {}, "calls": [["log", {"x": 1}, {}]], "end": ["raise", "an error"]}],
    },
]


@pytest.mark.slow
def test_a_script_leaves_the_same_at_wandb_however_it_is_delivered() -> None:
    scripts = [*_SCRIPTS, *map(make_script, range(N_SCRIPTS))]

    differing = [f"{run_id}: {one}" for run_id, found in compare(scripts).items() for one in found]

    assert not differing, "\n".join([*differing, "again: python -m tests.parity --seed N"])


def test_a_difference_that_is_not_listed_is_told() -> None:
    found = ["rows.0.loss: 1, 2", 'summary.error_type: "absent", "ValueError"']

    assert unintended(found, INTENDED) == ["rows.0.loss: 1, 2"]


def test_the_docs_list_what_differs_on_purpose() -> None:
    page = (ROOT / "docs" / "parity.md").read_text()

    assert [name for name in INTENDED if f"| {name} |" not in page] == []
