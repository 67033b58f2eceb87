# `make repro` runs everything on embedded input, `make test` checks the code in three minutes, `make test-all` the rest.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
STRENGTHS := 0.25 0.5 1 2
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup
# The second tier: what no change needs to wait for (pyproject.toml says what each marker means).
SECOND := slow or data or gpu or browser or faults or cluster

.PHONY: repro test test-all test-faults test-cluster test-lowest fuzz audit lock mutation gpu docs lint clean

repro: .venv/installed
	@for strength in $(STRENGTHS); do $(BIN)/repro theory --signal-strength $$strength || exit $$?; done
	@$(BIN)/repro study run recipes/digits.toml
	@$(BIN)/repro figures all
	@$(BIN)/repro paper claims
	@$(BIN)/repro paper report
	@$(BIN)/repro paper summary

test: .venv/tested lint
	$(PYTEST) -m "not ($(SECOND))"

test-all: .venv/tested
	$(PYTEST) -m "$(SECOND)"

# Kills, corruptions, full disks, several processes on one store; docs/trust.md states the counts.
test-faults: .venv/tested
	$(PYTEST) -m faults

# A study as jobs of a real SLURM of one node, started for the test (apt-get install slurm-wlm munge; needs root).
test-cluster: .venv/tested
	$(BIN)/python -m pytest -m cluster tests/cluster

# 10,000 damaged inputs for every reader of files.
fuzz: .venv/tested
	REPRO_FUZZ=10000 $(PYTEST) tests/fuzz

# The default tests, a network run and a figure on the lowest versions that pyproject.toml allows, in an environment of
# their own.
test-lowest:
	$(PYTHON) -m venv .venv-lowest
	$(PYTHON) .ci/versions.py lowest > .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip install --quiet -c .venv-lowest/lowest.txt -e '.[figures,networks,test]'
	.venv-lowest/bin/python -m pytest -n 2 --dist loadgroup -m "not ($(SECOND))"
	.venv-lowest/bin/repro run --pretrain-epochs 1 --epochs 1 --store .venv-lowest/runs
	.venv-lowest/bin/repro figures fig-tow --store .venv-lowest/runs

# Our code by bandit, the packages by pip-audit; `make audit OFFLINE=1` where its service cannot be reached.
audit: .venv/tested
	$(PIP) -e '.[audit]'
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml repro theory empirical figures
	$(BIN)/python .ci/versions.py audit $(if $(OFFLINE),--offline)

# Every file of the environment by its hash, for the platform in the name (`pip install --require-hashes -r` takes it).
lock: .venv/installed
	$(BIN)/python -m pip install --quiet --dry-run --ignore-installed --report .venv/report.json -c constraints.txt \
		'.[figures,networks]'
	$(BIN)/python .ci/versions.py lock .venv/report.json > lock-linux-x86_64-py311-cpu.txt

# The site, in build/site; a warning is an error. Its reference is written from the code.
docs: .venv/installed
	$(PIP) -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(BIN)/mkdocs build --strict

# Which share of a sample of mutants of the core modules do their own tests notice? MUTANTS names modules and how many.
mutation: .venv/tested
	$(PIP) -c constraints.txt -e '.[mutation]'
	$(BIN)/python .ci/mutation.py $(MUTANTS)

# Everything a CUDA device brings, in slices that go on where they stopped: `make gpu ARGS='--max-seconds 600'`.
# With INSTALL=no it runs in the environment of PYTHON and fetches nothing; wheels of the folder WHEELS come first, and
# the committed records may have stayed behind: an empty file in their place says that this was meant.
ifeq ($(INSTALL),no)
gpu:
	@test -d results || { mkdir results && touch results/left-behind; }
	$(if $(WHEELS),$(PYTHON) -m pip install --quiet --no-index --no-deps --upgrade --target build/site $(WHEELS)/*.whl)
	PYTHONPATH=build/site:. $(PYTHON) benchmarks/gpu.py $(ARGS)
else
gpu: .venv/tested
	$(BIN)/python benchmarks/gpu.py $(ARGS)
endif

# The same commands as pre-commit and CI.
lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff check --preview --select PLW1514 repro theory empirical figures
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
	rm -rf .venv .venv-lowest runs build
