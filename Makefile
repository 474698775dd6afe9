# Two commands do everything: `make demo` and `make test`. Each sets up .venv from nothing.

PYTHON ?= python3
BIN := .venv/bin
# Threads that wait sleep, as in the command itself: busy cores then cost little.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test check setup gpu torture clean

demo: setup
	$(BIN)/resexp compare plain residual

# A file stays with one of the two processes: its fixtures are made once.
test: check
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

# All that needs a GPU, in under 8 minutes whatever happens; what it finds stays in benchmarks/results.
gpu: setup
	status=0; \
	timeout 120 $(BIN)/python -m pytest -m gpu || status=1; \
	timeout 30 $(BIN)/python -m benchmarks.overhead --steps 200 --rounds 5 || status=1; \
	timeout 120 $(BIN)/python -m benchmarks.schedule --depth 20,56,110 --seconds 25 || status=1; \
	timeout 200 $(BIN)/python -m benchmarks.throughput --steps 200 || status=1; \
	exit $$status

torture: setup
	$(BIN)/python tests/torture.py

setup: .venv/.installed

# torch and torchvision from one index, the same versions on every machine: see constraints.txt.
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,ray]'
	touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache
