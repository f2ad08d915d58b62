# `make all` sets up and runs the default workflow; `make test` sets up and tests. Nothing outside this folder is touched.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
CORES ?= all

.PHONY: all test test-all bench lint docs pictures tutorial weights lock clean env
.DEFAULT_GOAL := all

all: $(READY)
	$(BIN)/snakemake --cores $(CORES) all
	$(BIN)/snakemake --report report.html

# Further options, such as --cov.
COVER ?=
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test: $(READY)
	$(PYTEST) $(COVER)

# What a release needs beside `make test`: SLURM, packages, other workflows, the site. Kills of every kind of job: pytest -m slow.
test-all: $(READY)
	$(PYTEST) -m release $(COVER)

# Every benchmark against its bare limit, with machine and date, into docs/benchmarks.md. Takes two hours; give it the machine.
bench: $(READY)
	$(BIN)/python benchmarks/all.py docs/benchmarks.md

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow/Snakefile workflow/rules
	$(BIN)/snakemake --lint
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

docs: $(READY)
	$(BIN)/classlens config-reference --write
	$(BIN)/python docs/scripts/rulegraph.py docs/images/rulegraph.svg
	$(BIN)/python docs/scripts/packages.py docs/images/packages.svg
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The tutorial's outputs, which the repository keeps, so that they are seen without running it.
tutorial: $(READY)
	$(BIN)/jupyter execute --inplace docs/tutorial.ipynb

# The pictures of README and docs, from the default run and Debian's package chromium.
pictures: $(READY)
	$(BIN)/snakemake --cores $(CORES) all
	$(BIN)/python docs/scripts/pictures.py results docs/images

# The default config's models, trained anew by their recipe (config/weights.yaml) and compared with those that come with classlens.
weights: $(READY)
	$(BIN)/python -m classlens.retrain

env: $(READY)

$(READY): requirements.lock pyproject.toml workflow/command.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "classlens needs Python 3.11 or newer; say which one with: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --requirement requirements.lock
	$(BIN)/python -m pip install --no-deps --editable .
	@# Through a shell, since the path may have spaces.
	printf '%s\n' '#!/bin/sh' "'''exec' \"$$PWD/$(BIN)/python\" \"\$$0\" \"\$$@\"" "' '''" \
	  | cat - workflow/command.py > $(BIN)/snakemake
	chmod 755 $(BIN)/snakemake
	touch $@

# Versions of the environment as it is, after an upgrade by hand.
lock:
	@{ sed -n '/^#/p' requirements.lock; $(BIN)/python -m pip freeze --exclude-editable \
	  | grep -viE '^(nvidia|cuda|triton|pip=|wheel=)'; } > requirements.lock.new
	mv requirements.lock.new requirements.lock

clean:
	rm -rf results logs report.html site
