# `make run` and `make test` work on a machine that has Python and nothing else of ours.
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help run test check lint types fast-tests demo bench fuzz injection storm test-model dashboards clean

VENV := .venv
PY := $(VENV)/bin/python
RUNS := $(VENV)/requirements.stamp
CHECKS := $(VENV)/requirements-dev.stamp
VENV_MODEL := .venv-model
MODEL := $(VENV_MODEL)/requirements-model.stamp
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --no-input
# The first that is a version we are tested with and can make environments; Debian keeps those apart.
SUITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHONS := $(PYTHON) python3 python3.13 python3.12 python3.11

help:
	@echo "make run     start on http://127.0.0.1:5000 (PORT=, HOST=); state is kept in var/"
	@echo "make test    all tests this machine can run; says what it cannot"
	@echo "make check   lint, types and the fast tests, in less than a minute"
	@echo "make demo    beside a running \`make run\`: a real alert, from firing to proof"
	@echo "make bench   the benchmarks; the figures go to var/bench.json"
	@echo "make fuzz    10,000 requests that nobody would write by hand, against PostgreSQL; some minutes"
	@echo "make injection  hostile texts by every way into the crew, with a model that obeys; a quarter of an hour"
	@echo "make storm   thousands of alerts while everything is killed a hundred times; some ten minutes a mode, of which there are two"
	@echo "make test-model  the crew with a real model of 135M parameters; compiles llama.cpp first, half an hour, once"
	@echo "make dashboards  writes metrics/grafana/*.json anew from metrics/dashboards"
	@echo "make clean   remove what was built, never var/"

run: $(RUNS)
	@exec $(PY) -m homelab.run

test: $(CHECKS)
	$(PY) -m pytest -n auto

check: lint types fast-tests

lint: $(CHECKS)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(CHECKS)
	$(PY) -m mypy .

fast-tests: $(CHECKS)
	$(PY) -m pytest -n auto -m "not e2e"

demo: $(RUNS)
	@exec $(PY) -m homelab.demo

bench: $(CHECKS)
	@exec $(PY) -m tests.bench

fuzz: $(CHECKS)
	@exec $(PY) -m tests.fuzz

injection: $(CHECKS)
	@exec $(PY) -m tests.injection

storm: $(CHECKS)
	@exec $(PY) -m tests.storm

# Not part of `make test`, which may skip nothing where everything is demanded.
test-model: $(CHECKS) $(MODEL)
	HOMELAB_MODEL_PYTHON=$(VENV_MODEL)/bin/python $(PY) -m pytest -s tests/model

dashboards: $(RUNS)
	$(PY) -m metrics.dashboards

clean:
	rm -rf $(VENV) $(VENV_MODEL) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNS): requirements.txt | $(PY)
	@echo "Installing what runs (a minute or two, once) ..."
	@$(PIP) -r requirements.txt
	@touch $@

$(CHECKS): requirements.txt requirements-dev.txt | $(PY)
	@echo "Installing what runs and what checks (a minute or two, once) ..."
	@$(PIP) -r requirements-dev.txt
	@touch $@ $(RUNS)

# Without pip's cache: it would take a build for another processor, or with other settings.
$(MODEL): requirements-model.txt | $(PY)
	@for each in cc c++; do \
	  command -v $$each >/dev/null || { echo "$$each is needed to compile llama.cpp: apt-get install g++" >&2; exit 1; }; \
	done
	@echo "Compiling llama.cpp (up to half an hour, once) ..."
	@rm -rf $(VENV_MODEL) && $(PY) -m venv $(VENV_MODEL)
	@$(VENV_MODEL)/bin/python -m pip install --disable-pip-version-check --no-input --no-cache-dir --quiet -r $<
	@touch $@

# A dangling link counts as missing, so an environment whose Python was upgraded away is made anew.
$(PY):
	@if [ -e $(VENV) ] && ! [ -w $(VENV) ]; then \
	  echo "$(VENV) is another user's, and you cannot use or replace it: work in a copy of your own (git clone)." >&2; exit 1; \
	fi; \
	known=; found=; \
	for each in $(PYTHONS); do \
	  "$$each" -c "$(SUITS)" >/dev/null 2>&1 || continue; \
	  known="$${known:-$$each}"; \
	  "$$each" -c 'import venv, ensurepip' >/dev/null 2>&1 && { found="$$each"; break; }; \
	done; \
	if [ -z "$$known" ]; then \
	  echo "Python 3.11, 3.12 or 3.13 is needed and was not found:" >&2; \
	  echo "  apt-get install python3 python3-venv    (or: make PYTHON=/path/to/python3)" >&2; exit 1; \
	fi; \
	if [ -z "$$found" ]; then \
	  version=$$("$$known" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  echo "$$known cannot make environments, its venv and ensurepip modules are missing:" >&2; \
	  echo "  apt-get install python$$version-venv" >&2; exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$found" --version) ..."; \
	rm -rf $(VENV) && "$$found" -m venv $(VENV)
