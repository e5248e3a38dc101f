# What one does with this project. `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
PORT ?= 8000
ARGS ?=
SECONDS ?= 600
SEED ?=
MODE ?=
SOAK_OLD ?=

VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
PEERS_VENV := .venv-peers
PEERS_INSTALLED := $(PEERS_VENV)/.installed
DOCS_INSTALLED := $(VENV)/.docs-installed
MKDOCS := NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs
CODE := $(wildcard taskproc taskproc_fastapi tests examples benchmarks tools)

.PHONY: help setup run test test-acl soak audit check fmt lua-lint bench bench-peers screenshots docs docs-serve clean

help: ## list what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## /  { printf "  make %-11s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Settings: PYTHON=python3.12 (for the first setup)  PORT=8000 (run, docs-serve)  ARGS='-k batch -x' (test)"
	@echo "  of soak: SECONDS=3600 in all  MODE=durable|rewinds|failover|cluster, one alone  SEED=7 to repeat one"
	@echo "           SOAK_OLD=v0.1.0, a git revision that every second process runs instead of this one"

setup: $(INSTALLED) ## create .venv and install everything; again only when pyproject.toml has changed

run: $(INSTALLED) ## start the example (examples/importer) on the embedded server; Ctrl-C ends it
	@echo "The example listens on http://127.0.0.1:$(PORT)"
	@TASKPROC_REDIS="$${TASKPROC_REDIS:-embedded}" $(PY) -m uvicorn examples.importer.app:app --port $(PORT)

test: $(INSTALLED) ## run the fast tests, on Valkey or on TASKPROC_TEST_SERVER=redis-server
	$(PY) -m pytest -m "not slow" $(ARGS)

test-acl: $(INSTALLED) ## run the tests of scripts and worker as the user with few rights that the docs give
	TASKPROC_TEST_ACL=1 $(PY) -m pytest -m "not slow" tests/storage tests/worker $(ARGS)

soak: $(INSTALLED) ## ten minutes of kills, cuts, restarts, failovers and a cluster, then large amounts; settings see below
	SOAK_SECONDS=$(SECONDS) SOAK_MODE=$(MODE) SEED=$(SEED) SOAK_OLD=$(SOAK_OLD) $(PY) -m pytest -s tests/soak/test_soak.py $(ARGS)
	$(PY) -m pytest -s -m slow tests/faults/test_amounts.py tests/soak/test_long_stay.py $(ARGS)

audit: $(INSTALLED) ## look whether a dependency has a known vulnerability; asks pypi.org, so not a part of `check`
	$(PY) -m pip install --quiet --target build/audit pip-audit
	PYTHONPATH=build/audit $(PY) -m pip_audit --path $$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

check: $(INSTALLED) ## ruff, mypy, pyright, luacheck
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy $(CODE)
	$(PY) -m pyright --pythonpath $(PY)
	$(PY) -m tools.lua_lint

fmt: $(INSTALLED) ## format the Python code and mend what ruff can mend
	$(PY) -m ruff check --fix-only
	$(PY) -m ruff format

lua-lint: $(INSTALLED) ## luacheck alone, each script with what is put in front of it
	$(PY) -m tools.lua_lint

bench: $(INSTALLED) ## measure against the bare protocol and write benchmarks/RESULTS.md; ARGS=--help tells what else
	$(PY) -m benchmarks.run $(ARGS)

bench-peers: $(INSTALLED) $(PEERS_INSTALLED) ## the same, and other libraries in turn with it, installed into .venv-peers
	$(PY) -m benchmarks.run --peers $(ARGS)

screenshots: $(INSTALLED) ## make the pictures of the dashboard in docs/images anew; needs Chromium
	$(PY) -m tools.screenshots

docs: $(DOCS_INSTALLED) ## build the documentation site into build/site; every warning is an error
	$(MKDOCS) build --strict

docs-serve: $(DOCS_INSTALLED) ## show it while it is written, at http://127.0.0.1:8000, or the port that PORT says
	$(MKDOCS) serve --dev-addr 127.0.0.1:$(PORT)

clean: ## remove what was built and cached; .venv stays
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --upgrade 'pip>=25.1'
	$(PY) -m pip install --quiet --editable '.[all]' --group dev
	@touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	$(PY) -m pip install --quiet --group docs
	@touch $@

$(PEERS_INSTALLED): benchmarks/peers/install benchmarks/peers/requirements.txt | $(PEERS_VENV)/bin/python
	benchmarks/peers/install $(PEERS_VENV)
	@touch $@

$(PEERS_VENV)/bin/python:
	@tools/make-venv '$(PYTHON)' $(PEERS_VENV)

$(PY):
	@tools/make-venv '$(PYTHON)' $(VENV)
