PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PORT ?= 5000

export MLFLOW_DISABLE_TELEMETRY := true
export TOKENIZERS_PARALLELISM := false

.PHONY: setup quickstart lab test test-slow lint ui bench clean

setup: $(STAMP)

# torch first and by its exact version: a range would pull the CUDA build
$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable '.[dev,ray]'
	touch $@

quickstart: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/mlflow run . --env-manager local --experiment-name quickstart -e main

lab: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/mlflow run . --env-manager local --experiment-name lab -e main -P config=configs/lab.yaml

# one torch thread per test process: two processes of two threads on two cores are ten times slower
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

test: setup
	$(PYTEST) -m "not slow"

# what `test` leaves out: whole trainings and experiments, broken and repeated in processes of their own
test-slow: setup
	$(PYTEST) -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy mats_sql entrypoints

ui: setup
	@test ! -e mlflow.db || MLFLOW_TRACKING_URI=sqlite:///mlflow.db $(BIN)/python -m mats_sql.tracking.views http://127.0.0.1:$(PORT)
	$(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db --port $(PORT)

bench: setup
	$(BIN)/python benchmarks/judge.py
	$(BIN)/python benchmarks/orpo.py
	$(BIN)/python benchmarks/generation.py

clean:
	rm -rf $(VENV) mats-runs mlruns mlflow.db build
