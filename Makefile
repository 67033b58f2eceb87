# `make repro` runs everything on embedded input, `make test` checks the code in three minutes, `make test-all` the rest.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
STRENGTHS := 0.25 0.5 1 2
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup
# The second tier: what no change needs to wait for (pyproject.toml says what each marker means).
SECOND := slow or data or gpu or browser or faults or cluster

.PHONY: repro test test-all mutation gpu docs lint clean

repro: .venv/installed
	@for strength in $(STRENGTHS); do $(BIN)/repro theory --signal-strength $$strength || exit $$?; done
	@$(BIN)/repro empirical grid recipes/digits.toml
	@$(BIN)/repro figures all
	@$(BIN)/repro claims
	@$(BIN)/repro report
	@$(BIN)/repro summary

test: .venv/tested lint
	$(PYTEST) -m "not ($(SECOND))"

test-all: .venv/tested
	$(PYTEST) -m "$(SECOND)"

# The site, in build/site; a warning is an error. Its reference is written from the code.
docs: .venv/installed
	$(PIP) -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(BIN)/mkdocs build --strict

# Puts every bug of tests/mutation/*_bugs.py into a copy of the code, one at a time; the tests must notice each.
mutation: .venv/tested
	$(BIN)/python -m tests.mutation.run

# Everything a CUDA device brings, in order and in slices: tests, benchmarks, a short study, the full one.
gpu: .venv/tested
	$(BIN)/python benchmarks/gpu.py

# The same commands as pre-commit and CI.
lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -c constraints.txt -e '.[all]'
	@touch $@

.venv/tested: .venv/installed
	$(PIP) -c constraints.txt -e '.[all,test]'
	@touch $@

clean:
	rm -rf .venv runs build
