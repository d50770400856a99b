"""Random scripts: what a task may call on its run, with every kind of value."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

Script = dict[str, Any]
Session = dict[str, Any]

# a session's explicit steps are past those of the sessions before it, as in a loop of epochs
STEPS_OF_A_SESSION = 50

_KEYS = st.sampled_from(["loss", "acc", "a/b", "a.b", "émile", "_hidden", "x", "y z"])
_TEXTS = st.one_of(
    st.sampled_from(
        ["", "text", "NaN", "null", "ünïcode \U0001f600", "two\nlines", '"quoted"', "x" * 3000]
    ),
    st.text(st.characters(codec="utf-8"), max_size=8),
)
_NUMBERS = st.one_of(
    st.integers(-5, 5),
    st.sampled_from([2**31, 2**53 + 1, 2**63 - 1, -(2**63)]),
    st.floats(-1e3, 1e3).map(lambda value: round(value, 3)),
    st.sampled_from([0.1, 1e-320, 1e308, -0.0]),
)
_UNDEFINED = st.sampled_from([None, ["$float", "nan"], ["$float", "inf"], ["$float", "-inf"]])
_FOREIGN = st.sampled_from(
    [
        ["$int", "9223372036854775808"],
        ["$int", "100000000000000000000000000000"],
        ["$numpy", "float32", 1.1],
        ["$numpy", "float64", 0.5],
        ["$numpy", "float16", ["$float", "nan"]],
        ["$numpy", "int64", 7],
        ["$numpy", "uint8", 255],
        ["$numpy", "bool", True],
        ["$array", "float64", [1, 2]],
        ["$array", "float64", [3]],
        ["$array", "int64", list(range(40))],
        ["$array", "float64", []],
        ["$tensor", 2.5],
        ["$tensor", ["$float", "nan"]],
        ["$bytes", "bytes"],
        ["$date", "2026-01-31"],
        ["$datetime", "2026-01-31T12:00:00"],
        ["$decimal", "1.10"],
        ["$tuple", 1, 2],
        ["$set", [3]],
        ["$complex", 1, 2],
        ["$opaque"],
        ["$keyed", 1, 2],
        True,
        False,
    ]
)
_PLAIN = st.one_of(_NUMBERS, _NUMBERS, _UNDEFINED, _TEXTS, _FOREIGN)
_NESTED = st.recursive(
    _PLAIN,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)),
    max_leaves=5,
)
_MEDIA = st.one_of(
    st.lists(st.integers(0, 9), min_size=1, max_size=5).map(lambda values: ["$histogram", values]),
    st.lists(st.lists(_NUMBERS, min_size=2, max_size=2), max_size=3).map(
        lambda rows: ["$table", ["a", "b"], rows]
    ),
    st.sampled_from(["<b>bold</b>", "ünïcode"]).map(lambda text: ["$html", text]),
    st.tuples(st.integers(1, 3), st.sampled_from([None, "caption"])).map(
        lambda image: ["$image", *image]
    ),
    st.integers(1, 2).map(lambda width: [["$image", width, None], ["$image", width + 1, "b"]]),
)
_VALUES = st.one_of(_NUMBERS, _NUMBERS, _NESTED, _NESTED, _MEDIA)
_ROWS = st.dictionaries(_KEYS, _VALUES, max_size=3)


def _resume(sessions: list[Session]) -> list[Session]:
    """The sessions as those of one run, each going on where the one before ended.

    They do not depend on what the sessions before them logged: a task does not ask W&B for that.
    """
    for number, session in enumerate(sessions):
        session["init"]["resume"] = "allow"
        session["calls"] = [
            _moved(call, number * STEPS_OF_A_SESSION)
            for call in session["calls"]
            if number == 0 or call[0] != "delete_summary"
        ]
        # tags that are set there are added to those of the run, which the session does not know
        if number > 0 and not session["init"].get("tags"):
            session["calls"] = [_adding_tags(call) for call in session["calls"]]
    return sessions


def _adding_tags(call: list[Any]) -> list[Any]:
    return ["add_tags", call[2]] if call[:2] == ["set", "tags"] else call


def _moved(call: list[Any], n_steps: int) -> list[Any]:
    name, *arguments = call
    if name == "log" and "step" in arguments[1]:
        row, how = arguments
        return ["log", row, {**how, "step": how["step"] + n_steps}]
    if name == "set_config":
        key, value = arguments
        return ["config", {key: value}, {"allow_val_change": True}]
    if name == "config":
        return ["config", arguments[0], {"allow_val_change": True}]
    return call


def _call(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just(name), *arguments).map(list)


def _options(**choices: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional=choices)


_TAGS = st.lists(st.sampled_from(["a", "b", "ü", "x" * 64]), max_size=3)
_LOGS = _call("log", _ROWS, _options(step=st.integers(0, 20), commit=st.booleans()))
_CALLS = st.one_of(
    _LOGS,
    _LOGS,
    _LOGS,
    _call("log", _ROWS, st.just({})),
    _call("log", _ROWS, st.just({})),
    _call("set_summary", _KEYS, _VALUES),
    _call("update_summary", st.dictionaries(_KEYS, _NESTED, max_size=3)),
    _call("delete_summary", _KEYS),
    _call("read_summary", _KEYS),
    _call("read", st.sampled_from(["step", "name", "notes", "tags", "group", "job_type"])),
    _call(
        "config",
        st.dictionaries(_KEYS, _NESTED, max_size=3),
        _options(allow_val_change=st.booleans()),
    ),
    _call("set_config", _KEYS, _NESTED),
    _call(
        "define_metric",
        st.sampled_from(["loss", "acc", "a/*", "*", "x"]),
        _options(
            step_metric=st.sampled_from(["x", "epoch"]),
            summary=st.sampled_from(
                ["min", "max", "mean", "last", "first", "best", "none", "min,max"]
            ),
            hidden=st.booleans(),
            goal=st.sampled_from(["minimize", "maximize"]),
            step_sync=st.booleans(),
        ),
    ),
    _call(
        "alert",
        st.sampled_from(["title", "tïtle", "t" * 80, "two\nlines"]),
        _TEXTS,
        _options(
            level=st.sampled_from(["INFO", "WARN", "ERROR", "loud"]),
            wait_duration=st.sampled_from([0, 0.001, 5, 3600]),
        ),
    ),
    _call(
        "artifact",
        st.sampled_from(["model", "data", "x.y"]),
        st.dictionaries(
            st.sampled_from(["a.txt", "deep/er/b.txt", "ü.txt"]), _TEXTS, min_size=1, max_size=2
        ),
        st.fixed_dictionaries(
            {"type": st.just("result")},
            optional={
                "metadata": st.dictionaries(_KEYS, st.one_of(_NUMBERS, _TEXTS), max_size=2),
                "description": st.sampled_from(["", "words"]),
            },
        ),
        _options(aliases=st.lists(st.sampled_from(["best", "v-1", "prod"]), max_size=2)),
    ),
    _call("set", st.just("name"), st.sampled_from(["other name", "ü"])),
    _call("set", st.just("notes"), _TEXTS),
    _call("set", st.just("tags"), _TAGS),
    _call("add_tags", _TAGS),
    _call(
        "save",
        st.sampled_from(["saved.txt", "deep/saved.bin", "ü.txt"]),
        _TEXTS,
        st.fixed_dictionaries({"policy": st.sampled_from(["now", "end", "live"])}),
    ),
    _call("mark_preempting"),
)
_ENDS = st.one_of(
    st.just(["return"]),
    st.just(["return"]),
    st.just(["raise", "an error"]),
    st.integers(1, 3).map(lambda code: ["exit", code]),
)
_INITS = _options(
    config=st.dictionaries(_KEYS, _NESTED, max_size=3),
    group=st.sampled_from(["group"]),
    job_type=st.sampled_from(["job"]),
    name=st.sampled_from(["a name", "ü"]),
    notes=_TEXTS,
    tags=_TAGS,
)
_SESSIONS = st.fixed_dictionaries(
    {"init": _INITS, "calls": st.lists(_CALLS, min_size=1, max_size=12), "end": _ENDS}
)
_RESUMED = st.lists(_SESSIONS, min_size=2, max_size=3)
_SCRIPTS = st.one_of(_SESSIONS.map(lambda session: [session]), _RESUMED.map(_resume))
# the first examples are the simplest
_N_EXAMPLES = 4


def make_script(number: int) -> Script:
    """A script; the same for the same number."""
    made: list[list[Session]] = []

    @seed(number)
    @settings(
        max_examples=_N_EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_SCRIPTS)
    def collect(sessions: list[Session]) -> None:
        made.append(sessions)

    collect()
    return {"id": f"s{number}", "sessions": max(made, key=lambda one: len(str(one)))}
