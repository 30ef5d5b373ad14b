# make run          install what is missing, fetch the starter models, serve on http://127.0.0.1:8000
# make test         everything that CI checks; make check: the quick part, under a minute
# make faults       the fault table, whole, with its figures; ROWS="1 9 24" for some of it
# make soak         mixed load with random faults for MINUTES=60
#
# PORT=9000  CONFIG=my.yaml  PYTHON=/path/to/python3.11  ACCELERATOR=auto|cpu|cuda|metal|vulkan

PORT ?=
CONFIG ?=
ACCELERATOR ?= auto
PYTEST_ARGS ?=
BENCH_ARGS ?=
CLIENTS ?=
ROWS ?=
FAULTS_ARGS ?=
MINUTES ?= 60
SOAK_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install -c constraints.txt
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
# Side by side: they need no more than a processor each.
UNIT_TESTS = $(BIN)/python -m pytest tests/unit -n auto
# Two files at a time: they start servers and models, and mostly wait for one thread of them.
SERVER_TESTS = $(BIN)/python -m pytest tests/process tests/e2e -n 2 --dist loadfile
# One by one: they count descriptors, measure times, and look at the screen.
OTHER_TESTS = $(BIN)/python -m pytest tests --ignore=tests/unit --ignore=tests/process --ignore=tests/e2e
CONFIG_FLAG = $(if $(CONFIG),--config $(CONFIG))

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run install test check format bench wer schema-suite fleet swaps train-captioner train-clip bench-build rebuild-llama pins clean help
.DEFAULT_GOAL := help

help:
	@sed -n '1,6s/^# \{0,1\}//p' Makefile

run: $(INSTALLED)
	@$(BIN)/llm-cortex pull --all $(CONFIG_FLAG) >/dev/null
	@exec $(BIN)/llm-cortex serve $(CONFIG_FLAG) $(if $(PORT),--port $(PORT))

install: $(INSTALLED)

test: $(INSTALLED_DEV)
	@.ci/install-chromium
	@.ci/install-xtts
	@$(BIN)/llm-cortex pull --all >/dev/null
	$(MAKE) --no-print-directory lint
ifeq ($(PYTEST_ARGS),)
	$(UNIT_TESTS)
	$(SERVER_TESTS)
	$(OTHER_TESTS)
else
	$(BIN)/python -m pytest $(PYTEST_ARGS)
endif

check: $(INSTALLED_DEV) lint
	$(UNIT_TESTS) $(PYTEST_ARGS)

.PHONY: lint
lint: $(INSTALLED_DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED_DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# BENCH_ARGS goes to every measurement, e.g. BENCH_ARGS='--rounds 1'.
bench: $(INSTALLED_DEV)
	$(BIN)/python -m benchmarks.chat $(BENCH_ARGS)
	$(if $(wildcard benchmarks/vendor/python-servers),\
	$(BIN)/python -m benchmarks.chat --streams 8 --peer example-server llama_cpp.server $(BENCH_ARGS))
	$(BIN)/python -m benchmarks.scaling $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.joining $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.prefix $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.structured $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.overhead $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.embeddings $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.speech $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.transcription $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.images $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.vision $(BENCH_ARGS)

# How exact transcripts are, beside faster-whisper itself; fetches recorded speech.
wer: $(INSTALLED_DEV)
	$(BIN)/python -m tests.wer $(BENCH_ARGS)

# How well structured output keeps to schemas, beside other engines; fetches the official test suite.
schema-suite: $(INSTALLED_DEV)
	$(BIN)/python -m tests.schema_suite $(BENCH_ARGS)

# The scheduler over simulated workers: 50 models on 8 GPUs, 10,000 requests, no device ever over its budget.
fleet: $(INSTALLED_DEV)
	$(BIN)/python -m tests.fleet

# The starter models take turns in memory that holds about two of them: make swaps MINUTES=10
swaps: MINUTES = 10
swaps: $(INSTALLED_DEV)
	@$(BIN)/llm-cortex pull --all >/dev/null
	$(BIN)/python -m tests.fleet.swaps --minutes $(MINUTES) $(BENCH_ARGS)

# Client libraries that need an environment of their own: make clients, make clients CLIENTS=with_langchain
clients: $(INSTALLED_DEV)
	@$(BIN)/llm-cortex pull --all >/dev/null
	$(BIN)/python -m tests.clients.run $(CLIENTS)

# What must happen when things break: make faults, make faults ROWS="1 9 24", make faults FAULTS_ARGS=--quick
.PHONY: faults
faults: $(INSTALLED_DEV)
	@$(BIN)/llm-cortex pull --all >/dev/null
	@$(BIN)/python -m tests.faults $(FAULTS_ARGS) $(ROWS)

# Mixed load with random faults for so long: make soak MINUTES=60, make soak SOAK_ARGS='--models fake --seed 1'
.PHONY: soak
soak: $(INSTALLED_DEV)
	@$(BIN)/llm-cortex pull --all >/dev/null
	@$(BIN)/python -m tests.faults.soak --minutes $(MINUTES) $(SOAK_ARGS)

# The starter models that look at pictures, anew, on one core; see training/README.md. An interrupted run goes on.
train-captioner: $(INSTALLED_DEV)
	$(BIN)/python -m training.captioner --checkpoint build/training/captioner.pt

train-clip: $(INSTALLED_DEV)
	$(BIN)/python -m training.clip --checkpoint build/training/clip.pt

bench-build: $(INSTALLED_DEV)
	$(BIN)/python -m benchmarks.build_peer

rebuild-llama: $(INSTALLED)
	@.ci/install-llama $(ACCELERATOR) --again

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# --- what the targets above stand on ---------------------------------------------------------------------

$(BIN)/python:
	@python=$$(PYTHON="$(PYTHON)" .ci/find-python) && echo "making $(VENV) with $$python" && $$python -m venv $(VENV)

# A stamp is written last: an install that was interrupted goes on at the next call.
$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	@.ci/install-llama $(ACCELERATOR)
	@echo "installing; the first time fetches a few hundred megabytes"
	@$(PIP) -e '.[llm,embeddings,audio,vision,images]'
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	@echo "installing what the tests need"
	@$(PIP) --quiet -e '.[llm,embeddings,audio,vision,images,piper,dev]'
	@touch $@

# Pins everything that is installed now; a local build of torch loses its tag.
pins: $(INSTALLED_DEV)
	@{ sed -n '/^#/p' constraints.txt; \
	   $(BIN)/pip freeze --all --exclude-editable --exclude setuptools \
	   | sed -E '/^#/d; /^-e/d; s/^([^=]+)==([^+]+)\+.*/\1==\2/'; } > constraints.new
	@mv constraints.new constraints.txt
