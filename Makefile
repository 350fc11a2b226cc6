# make demo   train on an embedded data set and write a report    (RECIPE=... for another)
# make test   everything that must pass: style, types, import contracts, tests
# make bench  the measurements behind every claim of speed or exactness
# make notebooks   run the notebooks on all of CIFAR-10 and keep their outputs
# Each sets up all that it needs on a fresh machine with Python 3.11 or later.

PYTHON ?= python3
RECIPE ?= digits/cnn
BIN := .venv/bin
INSTALLED := .venv/installed

# The data root is EYEBRIGHT_DATA. Where it is not set, real data beside the checkout serves, if there is any.
ifndef EYEBRIGHT_DATA
ifneq ($(wildcard ../shared/data/unpack_cifar10),)
export EYEBRIGHT_DATA := $(CURDIR)/.data
DATA := .data/ready
endif
endif

.PHONY: demo test style types contracts pytest browser bench notebooks clean

demo: $(INSTALLED) $(DATA)
	$(BIN)/eyebright train $(RECIPE)

# Checking the types takes a core a minute, and goes on beside the tests.
test: style contracts $(DATA)
	$(MAKE) --no-print-directory --jobs=2 types pytest

style: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(INSTALLED)
	$(BIN)/mypy

contracts: $(INSTALLED)
	$(BIN)/lint-imports

# A file of tests at a time on each of two cores. One thread each: threads that wait for each other spin, and two
# processes with two threads on two cores are slower than one.
pytest: $(INSTALLED) $(DATA) browser
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile

# The tests open the report's page in a browser. Where there is none and none can be installed, they are skipped.
browser:
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	export DEBIAN_FRONTEND=noninteractive; sudo=$$([ "$$(id -u)" = 0 ] || echo 'sudo --non-interactive'); \
	{ $$sudo apt-get update -qq && $$sudo apt-get install -qq --yes chromium fonts-dejavu-core >/dev/null; } \
	|| echo 'no browser could be installed: the tests of the report in a browser will be skipped'

notebooks: $(INSTALLED) $(DATA)
	$(BIN)/python notebooks/execute.py

bench: $(INSTALLED) $(DATA)
	$(BIN)/python benchmarks/exact_resume.py
	$(BIN)/python benchmarks/loader_share.py
	$(BIN)/python benchmarks/plain_loop.py
	$(BIN)/python benchmarks/plain_loop.py --whole
	$(BIN)/python benchmarks/speed_record.py
	$(BIN)/python benchmarks/compiled_step.py
	$(BIN)/python benchmarks/image_folder.py
	$(BIN)/python benchmarks/index_scale.py
	$(BIN)/python benchmarks/label_errors.py --seed 1
	$(BIN)/python benchmarks/time_budget.py
	$(BIN)/python benchmarks/tracking_overhead.py
	$(BIN)/python benchmarks/distributed.py
	$(BIN)/python benchmarks/ray_start.py

# torch first: pip keeps an installed one, so that a CPU build stays a CPU build.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

.data/ready: $(INSTALLED)
	mkdir -p .data
	$(BIN)/python ../shared/data/unpack_cifar10 .data
	ln -sf ../../shared/data/emotions.zip .data/emotions.zip
	touch $@

clean:
	rm -rf .venv .data .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
