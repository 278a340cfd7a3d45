# All targets need only python3 and make; `make` lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# Without cached bytecode every process compiles PyTorch's sources again, which takes ten seconds.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo leaderboard test test-fast test-all lint format types docs lock clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY) ## Create .venv with the locked versions (about a minute, 6 GB)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "fdp_lightning needs Python 3.11 or newer; specify it with: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 2; }
	@echo "Setting up $(VENV) (once): PyTorch and other packages, about 6 GB …"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $(READY)

demo: setup ## Train and test FDP on synthetic faces, leaving one subject out at a time, in minutes
	@$(BIN)/python -m fdp_lightning +experiment=synthetic_loso

test: setup ## Run the tests except the slow ones
	@$(BIN)/python -m pytest -n 2 --dist worksteal

test-fast: setup ## Run the tests without training, extra processes or a browser (about a minute)
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow and not costly'

test-all: setup ## Run all tests, including the slow ones
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m ''

lint: setup ## Check style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/hadolint Dockerfile

format: setup ## Fix style and format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: setup ## Check types
	@$(BIN)/mypy

docs: setup ## Build docs/_build/html/index.html; warnings and dead links are errors
	@$(BIN)/python -m sphinx -W --keep-going -q -j auto docs docs/_build/html
	@echo docs/_build/html/index.html

lock: setup ## Resolve pyproject.toml again and write requirements.lock (versions only)
	@$(BIN)/uv pip compile --quiet --universal --no-header --no-annotate --all-extras pyproject.toml -o requirements.lock

leaderboard: setup ## Compare recognisers on public flow of MEGC 2019: make leaderboard DATA=/path/to/HTNet [CAUSALNET=/path/to/CausalNet]
	@test -n "$(DATA)" || { echo "make leaderboard needs DATA=/path/to/HTNet, a clone of its repository"; exit 2; }
	@$(BIN)/python -m fdp_lightning +study=megc2019_flow data.root="$(DATA)" $(LEADERBOARD)
	@test -z "$(CAUSALNET)" || $(BIN)/python -m fdp_lightning +study=megc2019_flow data=megc2019_flow_causalnet \
	  data.root="$(CAUSALNET)" data.adapter.labels="$(DATA)" $(LEADERBOARD)

clean: ## Remove the environment and caches; keep runs and data
	@rm -rf $(VENV) docs/_build .pytest_cache .mypy_cache .ruff_cache
