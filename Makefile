# Everything runs in .venv, which the first target that needs it creates. PYTHON picks the interpreter: make test PYTHON=python3.11
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := nnunet,monai,mrml,cli,dicom,server,evaluation,test,dev

.PHONY: demo demo-browser page test test-long test-slicer lint benchmark hippocampus install clean

demo: $(STAMP)
	$(BIN)/context-propagation demo --output output/demo

# The demo's case in a browser, until Ctrl-C.
demo-browser: $(STAMP) page
	$(BIN)/context-propagation serve

# The server's own page: docs/browser.md. Built anew where one of its sources is newer.
PAGE := SlicerContextPropagation/context_propagation/page/built/index.html

page: $(PAGE)

$(PAGE): $(wildcard page/*.* page/src/* page/licences/*) | $(STAMP)
	$(BIN)/python page/build.py

# A process per core with one thread each, torch's and ITK's: faster than the same processes fighting over threads. What Python compiles is kept for
# the next process, also where the environment says otherwise. Files in their order, as those with few tests take longest.
PYTEST = OMP_NUM_THREADS=1 ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1 PYTHONDONTWRITEBYTECODE= \
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --durations 20

test: $(STAMP)
	$(PYTEST) -m "not long"

# Whole protocols, trainings and walks; and the page in a browser, skipped with the reason where it cannot be built.
test-long: $(STAMP)
	-$(MAKE) page
	$(PYTEST) -m long

# In a real Slicer: make test-slicer SLICER=/path/to/Slicer [MODULE_PATHS=/folder/of/PyTorch's/module]
# It installs nothing and needs no .venv; see Testing/app/README.md.
test-slicer:
	@test -n "$(SLICER)" || { echo "Say where Slicer is: make test-slicer SLICER=/path/to/Slicer"; exit 2; }
	$(PYTHON) Testing/app/run_slicer.py "$(SLICER)" --module-paths $(MODULE_PATHS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What an edit costs here: see docs/results/performance.md. An hour or more at all sizes; make benchmark BENCHMARK="--sizes 64" is short.
benchmark: $(STAMP)
	$(BIN)/context-propagation benchmark $(BENCHMARK)

# What an edit gains: the table of docs/activation-update.md.
hippocampus: $(STAMP)
	$(BIN)/python benchmarks/hippocampus.py

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[$(EXTRAS)]"
	touch $@

clean:
	rm -rf $(VENV)
