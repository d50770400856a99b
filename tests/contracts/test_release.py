"""What is released installs and works on a machine that has never seen this repository."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from readme_renderer import markdown

from flytekitplugins import wbmon
from flytekitplugins.wbmon import llm, serving
from support.distribution import (
    Installation,
    build,
    copy_checkout,
    installation,
    sdist_names,
    wheel_contents,
)
from support.environment import ROOT, SOURCE
from support.pages import code_blocks
from workflows.payments import generate_payments

pytestmark = pytest.mark.slow

README = (ROOT / "README.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
DOCS = README + "".join(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))
PACKAGE = SOURCE / "flytekitplugins" / "wbmon"
INSTALL = README.partition("## Install")[2].partition("\n## ")[0]
EXTRAS = tuple(re.findall(r"^\| `(\w+)` \|", INSTALL, re.MULTILINE))
NIGHTLY = code_blocks("README.md")[0]
NEEDS = (
    ("llm", "llm.weave_init(project='p', entity='e')(len)('x')"),
    ("llm", "llm.CallPolicy()"),
    ("llm", "llm.IsJson({})"),
    ("presidio", "serving.PresidioRedactor()"),
    ("gradio", "serving.monitor_gradio(len, log)"),
    ("gradio", "serving.gradio_feedback(log)(None, 'id')"),
    ("streamlit", "serving.streamlit_session(log)"),
    ("notify", "send_by_apprise('json://127.0.0.1', None)"),
    ("dashboard", "nightly_workspace('ops', 'payments')"),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("release")


@pytest.fixture(scope="module")
def checkout(home: Path) -> Path:
    return copy_checkout(home / "a checkout with spaces")


@pytest.fixture(scope="module")
def wheel(checkout: Path, home: Path) -> Path:
    return build("wheel", checkout, home=home)


@pytest.fixture(scope="module")
def sdist(checkout: Path, home: Path) -> Path:
    return build("sdist", checkout, home=home)


@pytest.fixture(scope="module")
def bare(wheel: Path, home: Path) -> Iterator[Installation]:
    """An environment with the wheel, none of its extras, and nothing of the checkout."""
    with installation(home / "bare", wheel) as made:
        yield made


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    (text,) = (c for n, c in wheel_contents(wheel).items() if n.endswith(".dist-info/METADATA"))
    return message_from_bytes(text)


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    info = f"flytekitplugins_wbmon-{wbmon.__version__}.dist-info"
    described = {"METADATA", "RECORD", "WHEEL", "licenses/LICENSE", "top_level.txt"}
    files = [*PACKAGE.rglob("*.py"), PACKAGE / "py.typed"]

    assert set(wheel_contents(wheel)) == {
        *(f"flytekitplugins/wbmon/{path.relative_to(PACKAGE).as_posix()}" for path in files),
        *(f"{info}/{name}" for name in described),
    }


def test_the_source_distribution_builds_the_same_wheel(
    sdist: Path, wheel: Path, home: Path
) -> None:
    assert wheel_contents(build("wheel", sdist, home=home)) == wheel_contents(wheel)


def test_the_source_distribution_holds_the_pages_and_no_tests(sdist: Path) -> None:
    names = sdist_names(sdist)
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}

    assert names >= {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "setup.py", *pages}
    assert {name.partition("/")[0] for name in names if "/" in name} == {"docs", "plugins"}


def test_what_earlier_builds_left_behind_is_not_released(tmp_path: Path) -> None:
    dirty = copy_checkout(tmp_path / "dirty")
    package = dirty / PACKAGE.relative_to(ROOT)
    for path in (
        dirty / "build/lib/flytekitplugins/wbmon/removed.py",
        dirty / "build/lib/flytekitplugins/stray/removed.py",
        package / "removed/__pycache__/removed.cpython-312.pyc",
        package / "__pycache__/removed.cpython-312.pyc",
        package.parent / "stray/removed.py",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    listed = package.parent.parent / "flytekitplugins_wbmon.egg-info" / "SOURCES.txt"
    listed.parent.mkdir()
    listed.write_text("tests/conftest.py\nbenchmarks/month.py\nworkflows/payments.py\n.ci/run\n")
    sdist = build("sdist", dirty, home=tmp_path)
    wheel = build("wheel", dirty, home=tmp_path)

    assert [name for name in wheel_contents(wheel) if "removed" in name] == []
    assert [name for name in sdist_names(sdist) if "removed" in name] == []
    assert not {"tests", "benchmarks", "workflows", ".ci"} & {
        name.partition("/")[0] for name in sdist_names(sdist)
    }


def test_an_index_takes_the_metadata(wheel: Path, sdist: Path, metadata: Message) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert metadata["Version"] == wbmon.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert not [c for c in metadata.get_all("Classifier", []) if c.startswith("License")]
    assert metadata["Keywords"]
    assert metadata["Requires-Python"]


def test_the_changelog_begins_with_the_version() -> None:
    released = re.findall(r"^## \[(.+)\] - \d{4}-\d{2}-\d{2}$", CHANGELOG, re.MULTILINE)

    assert released[0] == wbmon.__version__
    assert len(set(released)) == len(released)


def test_the_index_page_has_tables_and_no_dead_link(metadata: Message) -> None:
    page = markdown.render(metadata.get_payload(decode=True).decode())

    assert page is not None
    assert "<table>" in page
    assert "docs/alerts.md" in page
    assert [link for link in re.findall(r'href="([^#"]+)"', page) if "://" not in link] == []


def test_an_empty_environment_takes_the_wheel(bare: Installation) -> None:
    assert "flytekitplugins-wbmon" in bare.uv_pip("list")
    bare.uv_pip("check")


def test_the_readmes_nightly_check_decides_outside_the_repository(
    bare: Installation, tmp_path: Path
) -> None:
    generate_payments(-1).to_parquet(tmp_path / "past.parquet")
    (tmp_path / "2026-02-02").mkdir()
    generate_payments(0, fault="unit_change").to_parquet(tmp_path / "2026-02-02" / "0.parquet")
    nightly = re.sub("s3://(monitors|payments)", str(tmp_path), NIGHTLY)
    (tmp_path / "readme_nightly.py").write_text(nightly)
    (tmp_path / "decide.py").write_text(
        textwrap.dedent("""
        import json
        import sys
        from datetime import datetime, timezone

        import joblib
        import pandas as pd
        from flytekit.types.file import FlyteFile
        from sklearn.linear_model import LogisticRegression

        import flytekitplugins.wbmon
        from flytekitplugins.wbmon import check_performance, profile_data

        features = ["amount", "hour", "distance_km", "account_age_days"]
        past = pd.read_parquet("past.parquet")[[*features, "fraud"]]
        model = LogisticRegression(max_iter=1_000).fit(past[features], past["fraud"])
        joblib.dump(model, "payments.joblib")
        past["p_fraud"] = model.predict_proba(past[features])[:, 1]
        reference = profile_data(past)
        reference.save("payments.wbmon-profile")
        baseline = check_performance(
            past, task="classification", label="fraud", prediction="p_fraud"
        )
        baseline.save("payments.wbmon-performancereport")
        # the fixed inputs of its launch plan are there now
        from readme_nightly import nightly

        fired = nightly(
            model=FlyteFile("payments.joblib"),
            reference=reference,
            baseline=baseline,
            kickoff=datetime(2026, 2, 3, tzinfo=timezone.utc),
        )
        print(json.dumps([fired, flytekitplugins.wbmon.__file__, sys.path]))
        """)
    )

    printed = bare.run("decide.py", cwd=tmp_path)

    fired, imported, path = json.loads(printed.splitlines()[-1])
    assert fired is True
    assert Path(imported).is_relative_to(bare.folder)
    assert [folder for folder in path if Path(folder).is_relative_to(ROOT)] == []
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 3


@pytest.mark.parametrize(
    ("options", "env"),
    [
        pytest.param(["-W", "error"], {}, id="warnings are errors"),
        pytest.param(["-O"], {}, id="assertions are off"),
        pytest.param(
            [],
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            id="the locale knows ASCII only",
        ),
        pytest.param([], {"PYTHONPYCACHEPREFIX": "/dev/null"}, id="bytecode has no place"),
    ],
)
def test_every_name_loads_without_extras(
    bare: Installation, tmp_path: Path, options: list[str], env: dict[str, str]
) -> None:
    code = """
    import json
    from importlib import import_module
    loaded = {}
    for name in ("wbmon", "wbmon.serving", "wbmon.llm"):
        module = import_module(f"flytekitplugins.{name}")
        loaded[name] = [each for each in module.__all__ if getattr(module, each) is not None]
    print(json.dumps(loaded))
    """

    printed = bare.run(*options, "-c", textwrap.dedent(code), cwd=tmp_path, env=env)

    assert json.loads(printed) == {
        "wbmon": wbmon.__all__,
        "wbmon.serving": serving.__all__,
        "wbmon.llm": llm.__all__,
    }


@pytest.fixture(scope="module")
def refusals(bare: Installation, home: Path) -> dict[str, list[str]]:
    """What each line of `NEEDS` raises in the bare environment: the type and the message."""
    code = """
    import json
    import sys
    from flytekitplugins.wbmon import llm, serving
    from flytekitplugins.wbmon.publish.dashboard import nightly_workspace
    from flytekitplugins.wbmon.publish.alerts.send import send_by_apprise
    refusals = {}
    log = serving.PredictionLogger("ui", "log")
    for line in json.loads(sys.argv[1]):
        try:
            eval(line)
        except Exception as error:
            refusals[line] = [type(error).__name__, str(error)]
    log.close()
    print(json.dumps(refusals))
    """
    lines = json.dumps([line for _, line in NEEDS])
    printed = bare.run("-c", textwrap.dedent(code), lines, cwd=home)
    return dict(json.loads(printed.splitlines()[-1]))


@pytest.mark.parametrize(("extra", "line"), NEEDS)
def test_what_needs_an_extra_says_which_and_how_to_add_it(
    bare: Installation, refusals: dict[str, list[str]], extra: str, line: str
) -> None:
    kind, message = refusals[line]
    (requirement,) = re.findall(r'pip install "(.+)"', message)

    assert kind == "MissingExtraError"
    assert requirement == f"flytekitplugins-wbmon[{extra}]"
    bare.uv_pip("install", "--dry-run", requirement)


def test_prices_that_nothing_knows_are_told_with_the_extra(
    bare: Installation, tmp_path: Path
) -> None:
    code = """
    import logging, sys
    logging.basicConfig(stream=sys.stdout)
    from flytekitplugins.wbmon.llm import PriceTable
    for model in ("one", "other"):
        assert PriceTable().cost_usd(model, input_tokens=1, output_tokens=1) is None
    """

    printed = bare.run("-c", textwrap.dedent(code), cwd=tmp_path)

    assert printed.count("flytekitplugins-wbmon[llm]") == 1


def test_every_extra_that_the_package_asks_for_is_tried_above() -> None:
    text = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))

    assert set(re.findall(r'extra="(\w+)"', text)) == {extra for extra, _ in NEEDS}


def test_the_readme_names_the_declared_extras(metadata: Message) -> None:
    assert sorted(EXTRAS) == sorted(metadata.get_all("Provides-Extra", []))
    assert set(re.findall(r"flytekitplugins-wbmon\[(\w+)\]", DOCS)) <= set(EXTRAS)


@pytest.mark.parametrize("extra", [*EXTRAS, ",".join(EXTRAS)])
def test_an_extra_can_be_installed(wheel: Path, home: Path, extra: str) -> None:
    with installation(home / "empty") as empty:
        wanted = f"flytekitplugins-wbmon[{extra}] @ {wheel.as_uri()}"
        empty.uv_pip("install", "--dry-run", wanted)


def test_it_shares_its_namespace_with_the_plugin_of_flytekit(wheel: Path, tmp_path: Path) -> None:
    def importable(environment: Installation) -> list[str]:
        code = """
        import json
        found = []
        for name in ("wandb", "wbmon"):
            try:
                __import__(f"flytekitplugins.{name}", fromlist=["wandb_init"]).wandb_init
            except ImportError:
                continue
            found.append(name)
        print(json.dumps(found))
        """
        return list(json.loads(environment.run("-c", textwrap.dedent(code), cwd=tmp_path)))

    with installation(tmp_path / "both", wheel, "flytekitplugins-wandb") as both:
        both.uv_pip("check")
        assert importable(both) == ["wandb", "wbmon"]
        both.uv_pip("uninstall", "flytekitplugins-wandb")
        assert importable(both) == ["wbmon"]
        both.uv_pip("install", "flytekitplugins-wandb")
        both.uv_pip("uninstall", "flytekitplugins-wbmon")
        assert importable(both) == ["wandb"]
