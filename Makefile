# Everything sets itself up: `make train` and `make test` work on a fresh machine with Python >= 3.11.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
RUN ?= runs/street_scenes
MINUTES ?= 6
WORKERS ?= 2

.PHONY: help train test test-fast lint format

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

train: $(READY)  ## train on the embedded street scenes for MINUTES=6 and evaluate; two CPU cores will do
	$(BIN)/accelerate launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no \
	    scripts/train.py --config configuration/street_scenes/ocrnet_hr18s.yaml --output $(RUN) --resume auto --extend \
	    --minutes $(MINUTES)

test: $(READY)  ## run the tests, but those marked gpu, in WORKERS=2 processes of one thread
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not gpu"

test-fast: $(READY)  ## run the tests but those marked slow, distributed, export or gpu
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow and not distributed and not export and not gpu"

lint: $(READY)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## mend style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, $(PYTHON) is {sys.version.split()[0]}: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@
