# Every target sets up what it needs in .venv, so that these work in a fresh clone.
# The set-up is repeated only when pyproject.toml or constraints.txt changes.
#
#   make test ARGS="-k svd -x"       more arguments for pytest
#   make test PYTHON=python3.13      another interpreter, after `make clean`
#   make test CONSTRAINTS=           the newest releases of all packages, after `make clean`

# 3.11 goes first: its PyTorch is the one that CI and the constraints are tried with.
CANDIDATES := python3.11 python3 python3.12 python3.13
PYTHON ?=
CONSTRAINTS ?= constraints.txt
WORKERS ?= auto
ARGS ?=

# XLA compiles thousands of programs for the tests, each of which runs once: in half the time if it
# does not optimize them. With the newest releases, nightly, they are what users run.
UNOPTIMIZED := --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false \
	--xla_cpu_parallel_codegen_split_count=1

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install $(addprefix --constraint ,$(CONSTRAINTS)) --editable ".[all]"
# the newest version of pyright is no concern of a pinned one
PYRIGHT := PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help test test-slow demo bench lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

test: $(VENV)/.stamp-test ## run the tests, less the slow ones
	XLA_FLAGS="$${XLA_FLAGS-$(if $(CONSTRAINTS),$(UNOPTIMIZED))}" \
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 -m "not slow" $(ARGS)

test-slow: $(VENV)/.stamp-test ## run the slow tests
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 -m slow $(ARGS)

demo: $(VENV)/.stamp-demo ## run the demo
	$(BIN)/python -m demo

# Both sides keep what they free: XLA asks for its memory anew at each call.
bench: $(VENV)/.stamp-test ## time loewner against the frameworks
	MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=4000000000 \
	$(BIN)/python -m loewner bench $(ARGS)

lint: $(VENV)/.stamp-lint ## check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(PYRIGHT)

format: $(VENV)/.stamp-lint ## mend style and format where that can be done safely
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

clean: ## remove .venv and all caches
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A command on the PATH may be too old, without venv, or a stub that does not start: ask it.
# pip 25.1 is the first that installs dependency groups.
$(VENV)/.stamp-venv:
	@set -eu; \
	suits='import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'; \
	if ! $(BIN)/python -c "$$suits" 2>/dev/null; then \
	    for python in $(or $(PYTHON),$(CANDIDATES)); do \
	        if "$$python" -c "$$suits" 2>/dev/null; then \
	            echo "creating $(VENV) with $$python"; \
	            "$$python" -m venv --clear $(VENV); \
	            break; \
	        fi; \
	    done; \
	fi; \
	$(BIN)/python -c "$$suits" 2>/dev/null || { \
	    echo "Python 3.11 or newer, with venv, is needed: make PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	}
	$(PIP) install --quiet --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.stamp-test: $(VENV)/.stamp-venv pyproject.toml $(CONSTRAINTS)
	$(INSTALL) --group test
	@touch $@

$(VENV)/.stamp-demo: $(VENV)/.stamp-venv pyproject.toml $(CONSTRAINTS)
	$(INSTALL) --group demo
	@touch $@

# types are checked in the tests and the demo as well, so that their imports must be there
$(VENV)/.stamp-lint: $(VENV)/.stamp-venv pyproject.toml $(CONSTRAINTS)
	$(INSTALL) --group lint --group test --group demo
	@touch $@
