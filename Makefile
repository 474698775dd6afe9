# Two commands do everything: `make demo` and `make test`. Each sets up .venv from nothing.

PYTHON ?= python3
BIN := .venv/bin
# Threads that wait sleep, as in the command itself: busy cores then cost little.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test check docs setup gpu gpu-wheels torture clean

demo: .venv/.installed
	$(BIN)/resexp compare plain residual

# A file stays with one of the two processes: its fixtures are made once. A thread each: two cores are full.
test: export OMP_NUM_THREADS ?= 1
test: check
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

# Packages that a GPU machine with its own python3 and torch, and no network, is likely to lack.
WHEELS := pydantic==2.14.3 pydantic_core==2.50.4 annotated-types typing-inspection typing_extensions \
  typer==0.29.2 annotated-doc shellingham pytest==9.2.0 pytest-xdist==3.8.0 execnet
GPU_PYTHON ?= 3.12

gpu-wheels: setup
	$(BIN)/python -m pip download --quiet --no-deps --only-binary=:all: --python-version $(GPU_PYTHON) \
	  --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
	  --platform manylinux2014_x86_64 --dest .gpu $(WHEELS)

# On that machine; without one, `bash benchmarks/gpu_visit.sh OUT` is all it is.
gpu:
	RESEXP_COMMIT=$$(git rev-parse --short HEAD) bash benchmarks/gpu_visit.sh benchmarks/results

# The documentation as a site, warnings as errors: build/docs/index.html.
docs: setup
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -d build/doctrees docs build/docs

torture: setup
	$(BIN)/python tests/torture.py

setup: .venv/.tested

# torch and torchvision from one index, the same versions on every machine: see constraints.txt.
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

# What tests need on top: Ray, a browser's driver, linters.
.venv/.tested: .venv/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,ray]'
	touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache
