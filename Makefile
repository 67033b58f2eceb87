# Two commands: `make repro` runs everything on embedded input, `make test` checks the code.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
STRENGTHS := 0.25 0.5 1 2

.PHONY: repro test lint clean

repro: .venv/installed
	@for strength in $(STRENGTHS); do $(BIN)/repro theory --signal-strength $$strength || exit $$?; done
	@$(BIN)/repro empirical grid recipes/digits.toml
	@$(BIN)/repro figures all
	@$(BIN)/repro claims
	@$(BIN)/repro report

test: .venv/tested lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup

# The same commands as pre-commit and CI.
lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -c constraints.txt -e '.[figures,networks]'
	@touch $@

.venv/tested: .venv/installed
	$(PIP) -c constraints.txt -e '.[figures,networks,test]'
	@touch $@

clean:
	rm -rf .venv runs
