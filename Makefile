# The two commands a newcomer needs are `make run` and `make test`. They ask for git, make and a
# Python 3.11 to 3.14 with pip; everything else is brought into this folder (.tools, .venv, .state).
SHELL := /bin/sh
PYTHON ?= python3
UV_VERSION := 0.13.9

export UV_CACHE_DIR ?= $(CURDIR)/.tools/uv-cache
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/.venv
export PATCHLINE_HOME ?= $(CURDIR)/.state
export DAGSTER_DISABLE_TELEMETRY := yes
export PYTHONUTF8 := 1

UV := .tools/uv/bin/uv
RUN := $(UV) run --frozen --no-sync

.PHONY: help setup run test test-long lint types contracts docs crash-matrix fuzz dev example-real bench bench-ssot bench-landing clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: .tools/ready ## Install everything into this folder

$(UV):
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --target .tools/uv "uv==$(UV_VERSION)"

.tools/ready: pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen --quiet
	@touch $@

run: setup ## Run the example plan on the embedded defaults
	$(RUN) patchline run examples/plans/modernise.yaml

test: setup ## Run the tests
	$(RUN) pytest -n auto

test-long: setup ## Run the tests, with the long versions of those that have one
	PATCHLINE_LONG_TESTS=1 $(RUN) pytest -n auto

lint: setup ## Formatting and lint rules
	$(RUN) ruff format --check .
	$(RUN) ruff check .

types: setup ## Static types
	$(RUN) pyright

contracts: setup ## Import contracts: which room may use which
	$(RUN) lint-imports

docs: setup ## Write the generated pages in docs/
	$(RUN) python -m state.handbook docs

crash-matrix: setup ## Kill at every crash point, and write docs/CRASH_MATRIX.md
	$(RUN) python -m tests.crash.matrix docs

fuzz: setup ## Damage real diffs for an hour
	$(RUN) python tests/hostile/fuzz.py --minutes 60

dev: setup ## Open the Dagster UI on this home
	$(RUN) patchline dev

example-real: setup ## Modernise a real third-party package
	$(RUN) python examples/real/run.py

bench: setup ## Measure what a task costs (minutes)
	$(RUN) python benchmarks/executor/run.py

# The peers that it is compared with live in an environment of their own.
bench-ssot: | $(UV) ## Measure the store against raw SQL and its peers (an hour)
	UV_PROJECT_ENVIRONMENT=$(CURDIR)/.tools/bench $(UV) sync --frozen --quiet --group bench
	.tools/bench/bin/python benchmarks/ssot/run.py

bench-landing: | $(UV) ## Measure how fast patches land, against git and mergetrain (hours)
	UV_PROJECT_ENVIRONMENT=$(CURDIR)/.tools/bench $(UV) sync --frozen --quiet --group bench
	.tools/bench/bin/python benchmarks/landing/run.py

clean: ## Remove everything that was installed or made here
	rm -rf .tools .venv .state .pytest_cache .ruff_cache .hypothesis
