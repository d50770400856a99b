"""The page about clusters: its commands, its image and its links, as far as they go without one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from flytekit import ImageSpec, PythonFunctionTask
from flytekit.clis.sdk_in_container.pyflyte import main as pyflyte
from flytekit.configuration import Image, ImageConfig, SerializationSettings
from flytekit.image_spec.default_builder import create_docker_context

from flytekitplugins.wbmon import wandb_init
from flytekitplugins.wbmon.flyte import identity
from flytekitplugins.wbmon.run.init_arguments import run_url
from support.in_process import pod_context
from support.pages import code_blocks
from support.place import Place

PAGE = "docs/cluster.md"


def commands() -> Iterator[list[str]]:
    """The commands of the page as words, without comments."""
    for line in "".join(code_blocks(PAGE, "sh")).splitlines():
        yield shlex.split(line, comments=True)


@pytest.mark.parametrize("words", [w for w in commands() if w[0] == "pyflyte"], ids=" ".join)
def test_pyflyte_takes_the_command(words: list[str]) -> None:
    context = pyflyte.context_class(pyflyte)
    _, (name, *rest), _ = pyflyte.make_parser(context).parse_args(words[1:])
    command = pyflyte.get_command(context, name)
    assert command is not None, name
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    assert {word for word in rest if word.startswith("-")} <= known


def test_the_commands_for_other_programs_are_those_that_are_expected() -> None:
    others = {" ".join(words[:2]) for words in commands() if words[0] != "pyflyte"}
    setting = "export WBMON_SHARED=s3://monitors"
    assert others == {"kubectl apply", "kubectl get", "flytectl register", setting}


def test_the_image_has_the_wheel_before_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "flytekitplugins_wbmon-1-py3-none-any.whl").touch()
    monkeypatch.chdir(tmp_path)
    (code,) = [block for block in code_blocks(PAGE) if "ImageSpec(" in block]
    names: dict[str, ImageSpec] = {}
    exec(compile(code, "docs/cluster.md", "exec"), names)  # noqa: S102 - the page is ours
    (tmp_path / "context").mkdir()

    create_docker_context(names["image"], tmp_path / "context")

    dockerfile = (tmp_path / "context" / "Dockerfile").read_text()
    copied = dockerfile.index("COPY --chown=flytekit dist /root/dist/")
    assert copied < dockerfile.index("uv pip install /root/dist/*.whl")
    assert list((tmp_path / "context" / "dist").glob("*.whl"))
    assert "joblib" in (tmp_path / "context" / "requirements_uv.txt").read_text()


def link_templates() -> dict[str, str]:
    """The templates of the page by link type."""
    (config,) = [block for block in code_blocks(PAGE, "yaml") if "dynamic-log-links" in block]
    entries = yaml.safe_load(config)["plugins"]["logs"]["dynamic-log-links"]
    return {name: each["templateUris"][0] for entry in entries for name, each in entry.items()}


def work(n: int) -> int:
    """The body of a task."""
    return n


def any_task() -> PythonFunctionTask[None]:
    """A task of its own for each test, as tracking changes it."""
    return PythonFunctionTask(None, work)


def rendered(template: str, config: dict[str, str], pod_name: str) -> str:
    """A template as propeller fills it in."""
    values = {f".taskConfig.{name}": value for name, value in config.items()}
    values[".podName"] = pod_name
    return re.sub(r"{{ ([.\w]+) }}", lambda found: values[found[1]], template)


@pytest.mark.parametrize("run_id", [None, "payments"])
@pytest.mark.parametrize(
    "place", [Place(), Place(node="n1-0-n0", attempt=2), Place(node="n2", shard=1)], ids=str
)
def test_the_link_of_the_console_is_that_of_the_run(
    tmp_path: Path, run_id: str | None, place: Place
) -> None:
    settings = wandb_init(project="payments", entity="ops", id=run_id).settings
    tracked = wandb_init(project="payments", entity="ops", id=run_id)(any_task())
    image = Image("local", "none", "dev")
    config = tracked.get_config(
        SerializationSettings(ImageConfig(default_image=image), project="p", domain="d")
    )
    with pod_context(tmp_path, place=place):
        wanted = run_url(settings, str(identity.run_id(identity.current_identity(), run_id)))

    template = link_templates()[config["link_type"]]

    assert rendered(template, config, place.pod_name) == wanted
    assert f"{{{{ .{'podName' if run_id is None else 'taskConfig.id'} }}}}" in template
