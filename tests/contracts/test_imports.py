"""Every container pays for the import, so it loads nothing that it may not need."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import flytekitplugins.wbmon
from support.child import result_of

HEAVY = {
    "jsonschema", "numpy", "pandas", "pyarrow", "scipy", "sklearn", "stdnum", "wandb", "weave",
}  # fmt: skip
# the library functions work on arrays, so their modules load numpy and Arrow
ON_ARRAYS = {
    "check_drift",
    "check_joint_drift",
    "check_performance",
    "drift_series",
    "estimate_loss",
    "estimate_performance",
    "evaluate_rules",
    "fit_loss_model",
    "join_labels",
    "merge_profiles",
    "permutation_importance",
    "profile_data",
    "profile_windows",
}
PLAIN = sorted(set(flytekitplugins.wbmon.__all__) - ON_ARRAYS)


def modules_loaded_by(code: str, home: Path, *, after: str = "import flytekit") -> set[str]:
    """The modules that `code` executes and `after` does not.

    flytekit puts lazy stand-ins for pandas and pyarrow into `sys.modules`, so it is their
    submodules that tell whether they were loaded.
    """
    script = f"""
import json, sys
{after}
before = set(sys.modules)
{textwrap.dedent(code)}
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    return set(result_of(script, home=home))


def packages(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize("after", ["", "import flytekit"])
def test_importing_the_package_loads_no_heavy_library(tmp_path: Path, after: str) -> None:
    loaded = modules_loaded_by("import flytekitplugins.wbmon", tmp_path, after=after)

    assert packages(loaded) & HEAVY == set()
    assert "flytekit" not in loaded


def test_naming_every_node_and_record_loads_no_heavy_library(tmp_path: Path) -> None:
    loaded = modules_loaded_by(f"from flytekitplugins.wbmon import {', '.join(PLAIN)}", tmp_path)

    assert packages(loaded) & HEAVY == set()


def test_what_a_server_and_an_evaluation_name_loads_no_heavy_library(tmp_path: Path) -> None:
    code = """
    from flytekitplugins.wbmon.llm import IsJson
    from flytekitplugins.wbmon.serving import PatternRedactor, PredictionLogger
    assert PatternRedactor().text("nothing to hide") == ("nothing to hide", 0)
    """
    loaded = modules_loaded_by(code, tmp_path, after="")

    assert packages(loaded) & HEAVY <= {"numpy"}


def test_naming_the_library_functions_loads_arrays_and_nothing_else(tmp_path: Path) -> None:
    names = ", ".join(sorted(ON_ARRAYS))
    loaded = modules_loaded_by(f"from flytekitplugins.wbmon import {names}", tmp_path, after="")

    assert packages(loaded) & HEAVY <= {"numpy", "pyarrow"}
    assert "flytekit" not in loaded


def test_the_nightly_drift_path_loads_neither_pandas_nor_scipy_stats(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for name, shift in (("reference", 0.0), ("current", 0.5)):
        columns = {
            "amount": rng.normal(shift, 1, 2000),
            "country": rng.choice(["de", "fr", "it"], 2000),
            "n_items": rng.integers(0, 9, 2000),
        }
        (tmp_path / name / "region=eu").mkdir(parents=True)
        pq.write_table(pa.table(columns), tmp_path / name / "region=eu" / "0.parquet")
    code = """
    from flytekitplugins.wbmon import check_drift, profile_data
    reference = profile_data("reference", columns=["amount", "country", "n_items", "region"])
    report = check_drift(reference, profile_data("current", like=reference))
    assert report.drifted and report.features["amount"].drifted
    report.to_html()
    """

    loaded = modules_loaded_by(code, tmp_path, after="")

    assert packages(loaded) & {"pandas", "polars", "sklearn", "wandb", "weave", "flytekit"} == set()
    assert "scipy.stats" not in loaded


def test_a_name_is_loaded_once_and_an_unknown_one_is_an_attribute_error(tmp_path: Path) -> None:
    code = """
    import json
    import flytekitplugins.wbmon as wbmon
    try:
        wbmon.nothing_of_the_kind
    except AttributeError as error:
        message = str(error)
    print(json.dumps([wbmon.DriftRule is wbmon.DriftRule, "DriftRule" in dir(wbmon), message]))
    """
    same, listed, message = result_of(code, home=tmp_path)

    assert same
    assert listed
    assert "nothing_of_the_kind" in message


def test_installing_registers_nothing_with_flytekit(tmp_path: Path) -> None:
    code = """
    import json
    from importlib.metadata import entry_points
    names = [point.value for point in entry_points(group="flytekit.plugins")]
    print(json.dumps(names))
    """
    assert not [name for name in result_of(code, home=tmp_path) if "wbmon" in name]


def test_importing_a_node_registers_no_task(tmp_path: Path) -> None:
    names = ", ".join(PLAIN)
    code = f"""
    import json
    from flytekit.core.context_manager import FlyteEntities
    before = len(FlyteEntities.entities)
    from flytekitplugins.wbmon import {names}
    print(json.dumps([str(e) for e in FlyteEntities.entities[before:]]))
    """
    assert result_of(code, home=tmp_path) == []
