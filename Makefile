# `make` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --no-input --disable-pip-version-check
INSTALL := $(PIP) install -q -c constraints.txt
DEMO_OUT ?= demo
PYTEST_ARGS ?=
HOME_URL ?=
RELEASE := .venv-release/bin/python

# Pictures go to files; no window is ever opened.
export MPLBACKEND := Agg

.DEFAULT_GOAL := help
.PHONY: help demo test lint fuzz test-oldest test-newest release-check clean
# One environment, one writer: keeps `make -j` safe.
.NOTPARALLEL:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s  %s\n", $$1, $$2 }' Makefile
	@echo "Variables: PYTHON=$(PYTHON)  DEMO_OUT=$(DEMO_OUT)  PYTEST_ARGS=$(PYTEST_ARGS)"

demo: $(VENV)/.core ## the hydrogen atom by the Ritz solver and by NeuralSVD, then a result of every regime
	$(BIN)/schmidt compare hydrogen2d --methods ritz sequential --out "$(DEMO_OUT)/1-hydrogen"
	$(BIN)/schmidt solve --potential "0.02*(x**2 - 30)**2" --dim 1 --modes 8 --out "$(DEMO_OUT)/2-potential"
	$(BIN)/schmidt compress --rank 20 80 --out "$(DEMO_OUT)/3-matrix"
	$(BIN)/schmidt complete --out "$(DEMO_OUT)/4-ratings"
	$(BIN)/schmidt search --out "$(DEMO_OUT)/5-documents"
	$(BIN)/schmidt retrieve --methods raw joint --steps 300 --out "$(DEMO_OUT)/6-two-variables"
	@$(BIN)/schmidt report "$(DEMO_OUT)"

# Two processes with a thread each: more would fight for the cores.
test: export OMP_NUM_THREADS = 1
test: lint ## lint, then run the tests
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

lint: $(VENV)/.dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src

fuzz: $(VENV)/.dev ## 10^5 damaged files of every format; an hour
	SCHMIDT_FUZZ=100000 $(BIN)/python -m pytest -n 2 tests/faults

# The ends of the tested ranges, each in an environment of its own; torch stays at the pinned build.
test-oldest test-newest: test-%:
	rm -rf .venv-$*
	"$(PYTHON)" -m venv .venv-$*
	.venv-$*/bin/python -m pip --no-input install -q -c constraints-$*.txt 'setuptools>=77' wheel
	.venv-$*/bin/python -m pip --no-input install -q -c constraints-$*.txt \
	  --no-build-isolation -e '.[dev]'
	.venv-$*/bin/python -m pytest -n 2 $(PYTEST_ARGS)

# From what is committed, in a copy. HOME_URL, where the repository is to be seen, makes the links of
# README.md absolute: outside the repository relative ones lead nowhere.
release-check: ## sdist and wheel: metadata, a clean environment, the tests that the sdist holds
	rm -rf build dist .venv-release
	mkdir -p build/source dist
	git archive HEAD | tar x -C build/source
	test -z "$(HOME_URL)" || sed -E -i.bak 's#\]\((docs/|CHANGELOG|CONTRIBUTING)#](${HOME_URL}/\1#g' \
	  build/source/README.md
	"$(PYTHON)" -m venv .venv-release
	$(RELEASE) -m pip --no-input install -q -c constraints.txt build twine setuptools wheel
	$(RELEASE) -m build --no-isolation --outdir dist build/source
	$(RELEASE) -m twine check --strict dist/*
	$(RELEASE) -m pip --no-input install -q -c constraints.txt "$$(ls dist/*.whl)[dev]"
	grep -q "^## $$($(RELEASE) -c 'import schmidt; print(schmidt.__version__)')" CHANGELOG.md
	cd dist && ../.venv-release/bin/schmidt solve oscillator2d --modes 3 --out check && rm -r check
	tar xzf dist/*.tar.gz -C build && mv build/schmidt-* build/unpacked
	cd build/unpacked && rm -r src/schmidt && ../../$(RELEASE) -m pytest -n 2 $(PYTEST_ARGS)
	@test -n "$(HOME_URL)" || echo "the links of README.md are relative: give HOME_URL=https://…"

clean: ## remove the environment and everything generated
	rm -rf $(VENV) .venv-* build dist demo .mypy_cache .pytest_cache .ruff_cache src/*.egg-info
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
