"""Packaging of flytekitplugins-wbmon; the settings of every tool are in pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_namespace_packages, setup

ROOT = Path(__file__).parent
SOURCE = "plugins/flytekitplugins-wbmon"
VERSION = re.search(
    r'^__version__ = "(.+)"$',
    (ROOT / SOURCE / "flytekitplugins/wbmon/__init__.py").read_text(encoding="utf-8"),
    re.MULTILINE,
)

extras = {
    "llm": ["weave>=0.54,<0.55", "openai>=2", "genai-prices", "pydantic-core", "tenacity>=9"],
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
extras["browser"] = [*extras["gradio"], *extras["streamlit"], "playwright>=1.49"]
extras["dev"] = [
    *extras["polars"],
    *extras["notify"],
    *extras["dashboard"],
    *extras["demo"],
    *extras["serving"],
    "cloudpickle",
    "codespell",
    "flytekitplugins-wandb>=1.16,<1.17",
    "hypothesis>=6.100",
    "httpx",
    "import-linter>=2",
    "litestar>=2",
    "moto[server]>=5",
    "mypy>=1.13",
    "pandas-stubs",
    "pillow",  # wandb.Image
    "pre-commit",
    "pytest>=9.0",
    "pytest-cov>=6",
    "pytest-xdist>=3.6",
    "ruff>=0.9",
    "s3fs",
    "starlette",
    "tomli; python_version < '3.11'",
]

setup(
    name="flytekitplugins-wbmon",
    version=VERSION[1] if VERSION else "0",
    description="Production model monitoring as Flyte tasks, recorded in Weights & Biases",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10,<3.13",
    package_dir={"": SOURCE},
    packages=find_namespace_packages(SOURCE, include=["flytekitplugins.*"]),
    package_data={"flytekitplugins.wbmon": ["py.typed"]},
    install_requires=[
        "diskcache",
        "flyteidl",
        "flytekit>=1.16.3,<2",
        "fsspec",
        "joblib",
        "mashumaro>=3.15",
        "numpy>=1.26",
        "pandas>=2.2",
        "protobuf",
        "pyarrow>=17",
        "pyyaml",
        "scikit-learn>=1.5",
        "scipy>=1.13",
        "threadpoolctl",
        "wandb>=0.31,<0.32",
    ],
    extras_require=extras,
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
