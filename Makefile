# `make` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --no-input --disable-pip-version-check
INSTALL := $(PIP) install -q -c constraints.txt
DEMO_OUT ?= demo
PYTEST_ARGS ?=

# Pictures go to files; no window is ever opened.
export MPLBACKEND := Agg

.DEFAULT_GOAL := help
.PHONY: help demo test lint clean
# One environment, one writer: keeps `make -j` safe.
.NOTPARALLEL:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s  %s\n", $$1, $$2 }' Makefile
	@echo "Variables: PYTHON=$(PYTHON)  DEMO_OUT=$(DEMO_OUT)  PYTEST_ARGS=$(PYTEST_ARGS)"

demo: $(VENV)/.core ## the hydrogen atom in the plane, by the Ritz solver and by NeuralSVD
	$(BIN)/schmidt compare hydrogen2d --methods ritz sequential --out "$(DEMO_OUT)"
	@echo "Pictures in $(DEMO_OUT)/:"
	@find "$(DEMO_OUT)" -type f \( -name '*.png' -o -name '*.svg' -o -name '*.pdf' \) | sort | sed 's/^/  /'

test: lint ## lint, then run the tests
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

lint: $(VENV)/.dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src

clean: ## remove the environment and everything generated
	rm -rf $(VENV) build dist demo .mypy_cache .pytest_cache .ruff_cache src/*.egg-info
	find . -type d -name __pycache__ -prune -exec rm -rf {} +

# The environment, in layers. Each stamp is written last, so an interrupted
# install is redone; a change of either input file starts again from nothing.
# Build tools are pinned too: they are installed here, and builds are not isolated.
$(VENV)/.base: pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
	  echo "error: no '$(PYTHON)' found; try: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: schmidt needs Python 3.11 or newer, but '$(PYTHON)' is" \
	    "$$("$(PYTHON)" --version 2>&1); try: make PYTHON=python3.11" >&2; exit 1; }
	rm -rf $(VENV)
	"$(PYTHON)" -m venv $(VENV)
	$(INSTALL) setuptools wheel
	@touch $@

$(VENV)/.core: $(VENV)/.base
	$(INSTALL) --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(INSTALL) --no-build-isolation -e '.[dev]'
	@touch $(VENV)/.core $@
