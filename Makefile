# make up     everything runs: servers, web, workers; Ctrl-C stops all of it
# make test   everything is checked: lint, types, import rules, migrations, tests
# make lint | fmt | types | rows | lock
#
# Needs Python 3.11 and a package index; everything else goes into .venv, once for each requirements.lock.

.PHONY: up test lint fmt types rows lock
.DEFAULT_GOAL := up

UV_VERSION := 0.13.8
PYTHON := .venv/bin/python
INSTALLED := .venv/requirements.installed
REQUIREMENTS := requirements.txt requirements-assets.txt requirements-dev.txt

up: $(INSTALLED)
	@exec $(PYTHON) manage.py up

# What starts the whole system runs in real time: after the rest, which takes both cores of a small machine, and in two
# halves beside each other, calls in one and starts and pages in the other (tests/conftest.py).
test: lint types
	$(PYTHON) manage.py makemigrations --check --dry-run
	$(PYTHON) -m pytest -m "not e2e" -n 2 --dist loadfile
	$(PYTHON) -m pytest -m e2e -n 2 --dist loadscope

lint: $(INSTALLED)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	.venv/bin/lint-imports

fmt: $(INSTALLED)
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

types: $(INSTALLED)
	$(PYTHON) -m mypy .

# Which acceptance rows no test proves yet.
rows: $(INSTALLED)
	@$(PYTHON) -m tests.rows

lock: $(INSTALLED)
	.venv/bin/uv pip compile --system-certs --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q \
		--override requirements-overrides.txt $(REQUIREMENTS) -o requirements.lock

# uv knows nothing of pip's own index settings; where they are needed, pip does the same work, only slower.
$(INSTALLED): requirements.lock
	@python=$$(command -v python3.11 || command -v python3); \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
		echo "MeshAG needs Python 3.11 with its venv module (on Debian: apt-get install python3.11-venv)." >&2; exit 1; }; \
	echo "Installing MeshAG's packages into .venv (only when requirements.lock has changed) ..."; \
	"$$python" -m venv .venv
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@.venv/bin/uv pip sync --quiet --system-certs --python $(PYTHON) requirements.lock || \
		{ echo "uv could not install the packages; pip tries the same ..." >&2; \
		$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock; }
	@touch $@
