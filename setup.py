"""Packaging of flytekitplugins-wbmon; the settings of every tool are in pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SOURCE = "plugins/flytekitplugins-wbmon"


class FreshBuild(build_py):
    """A build without the modules that an earlier one left and that are gone since."""

    def run(self) -> None:
        """Build, then remove what is not of this build."""
        super().run()
        if self.editable_mode:
            return
        built = {Path(name) for name in self.get_outputs()}
        for path in Path(self.build_lib, "flytekitplugins").rglob("*"):
            if path.is_file() and path not in built:
                path.unlink()


def package_version() -> str:
    """The version that the package itself says."""
    text = (ROOT / SOURCE / "flytekitplugins/wbmon/__init__.py").read_text(encoding="utf-8")
    (version,) = re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    return str(version)


def index_page() -> str:
    """The README with its relative links as text: on an index page they lead nowhere."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.sub(r"\[([^\]]+)\]\((?!https:)([^)]+)\)", _as_text, text)


def _as_text(link: re.Match[str]) -> str:
    label, target = link.groups()
    return target if label == target else f"{label} ({target})"


extras = {
    "llm": [
        "jsonschema>=4.18",  # before it a $ref in a schema is fetched from the network
        "referencing>=0.28.4",
        "weave>=0.52.7",  # the first whose patches of client libraries can be undone by name
        "openai>=1.66",  # the first with the responses API; before 1.55.3 httpx 0.28 breaks it
        "genai-prices>=0.0.25",
        "packaging>=21",
        "pydantic-core>=2.6",
        "tenacity>=8.3",
    ],
    "serving": ["fastapi", "pydantic>=2", "uvicorn"],
    "presidio": ["presidio-analyzer>=2.2", "spacy"],
    "gradio": ["gradio>=5"],
    "streamlit": ["streamlit>=1.40"],
    "polars": ["polars>=1"],
    "notify": ["apprise>=1.9"],
    "dashboard": ["wandb-workspaces>=0.4,<0.5"],
    "demo": ["rich>=13"],
}
# for the example apps driven in a real browser, which the system must have
extras["browser"] = [
    *extras["gradio"],
    "gradio_client",  # comes with gradio; the tests import it
    *extras["streamlit"],
    "playwright>=1.49",
]
extras["dev"] = [
    *extras["polars"],
    *extras["notify"],
    *extras["dashboard"],
    *extras["demo"],
    *extras["serving"],
    "adlfs",
    "cloudpickle",
    "codespell",
    "coverage>=7.6",
    "flytekitplugins-wandb>=1.16,<1.17",
    "gcsfs",
    "graphql-core>=3.2",  # the stand-in W&B server reads queries as a server does
    "hypothesis>=6.100",
    "httpx",
    "import-linter>=2.6",  # the contract that there is no circle
    "jsonschema>=4.18",
    "litestar>=2",
    "moto[server]>=5",
    "mypy>=1.13",
    "packaging",
    "pandas-stubs",
    "pillow",  # wandb.Image
    "pre-commit",
    "pytest>=9.0",
    "pytest-cov>=6",
    "pytest-xdist>=3.6",
    "readme-renderer[md]",
    "ruff>=0.9",
    "s3fs",
    "starlette",
    "tomli; python_version < '3.11'",
    "twine>=6.1",
    "uv",
]

setup(
    name="flytekitplugins-wbmon",
    version=package_version(),
    description="Production model monitoring as Flyte tasks, recorded in Weights & Biases",
    long_description=index_page(),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    keywords=[
        "alerting",
        "data drift",
        "flyte",
        "flytekit",
        "llm",
        "mlops",
        "model monitoring",
        "model performance",
        "wandb",
        "weave",
        "weights and biases",
    ],
    project_urls={
        "Flyte": "https://flyte.org",
        "Weights & Biases": "https://wandb.ai",
    },
    python_requires=">=3.10,<3.13",  # up to where flytekit may be installed
    package_dir={"": SOURCE},
    packages=find_namespace_packages(
        SOURCE,
        include=["flytekitplugins.wbmon", "flytekitplugins.wbmon.*"],
        exclude=["*.__pycache__"],
    ),
    package_data={"flytekitplugins.wbmon": ["py.typed"]},
    install_requires=[
        "diskcache>=5.2.1",
        "flyteidl>=1.13.5,<2",
        # before 1.13.9 it refuses an empty dict as a task's output; 2 is another API
        "flytekit>=1.13.9,<2",
        "fsspec>=2024.3.1",
        "joblib>=1.3",
        "mashumaro>=3.11",
        "numpy>=1.23.2",
        "pandas>=2.0",
        "protobuf>=4.21",
        "pyarrow>=17",
        "python-stdnum>=1.20",  # before it setuptools is needed, undeclared
        "pyyaml>=6.0.1",
        "scikit-learn>=1.2",
        "scipy>=1.11.1",
        "threadpoolctl>=3.1",
        "wandb>=0.23",
    ],
    extras_require=extras,
    cmdclass={"build_py": FreshBuild},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: System :: Monitoring",
        "Typing :: Typed",
    ],
)
