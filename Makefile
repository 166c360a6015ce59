# Everything runs in .venv, which the first target that needs it creates. PYTHON picks the interpreter: make test PYTHON=python3.11
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := nnunet,monai,mrml,cli,dicom,evaluation,test,dev

.PHONY: demo test test-long lint benchmark install clean

demo: $(STAMP)
	$(BIN)/context-propagation demo --output output/demo

# A process per core with one thread each: faster than the same processes fighting over threads.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --durations 20 -m "not long"

# Tests at full depth. Exit status 5 of pytest says that none is marked.
test-long: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --durations 20 -m long || test $$? -eq 5

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: $(STAMP)
	$(BIN)/python benchmarks/hippocampus.py

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[$(EXTRAS)]"
	touch $@

clean:
	rm -rf $(VENV)
