# What people and CI run. Packages come from the lock files into .venv, again whenever a lock file changes.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: run demo-live test check schema bench bench-stores bench-ingest bench-research mutants lock
PYTHON ?= python3

# The embedded stores, the demo network (not with DEMO=0) and the API; see README.md for the settings.
run: .venv/run.stamp
	@$(if $(DEMO),CAREGRAPH_DEMO=$(DEMO)) exec .venv/bin/python -m workers run

# The same with bedside monitors: the tab Live of GraphiQL shows a ward whose vital signs move.
demo-live: .venv/run.stamp
	@CAREGRAPH_DEMO_LIVE=1 exec .venv/bin/python -m workers run

test: .venv/dev.stamp
	.venv/bin/python -m pytest $(ARGS)

check: .venv/dev.stamp
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/pyright

# What is printed from the code: the schema, the manifest of trusted documents, the table of the policy.
schema: .venv/dev.stamp
	.venv/bin/python -m graph.schema > .venv/schema.graphql
	mv .venv/schema.graphql schema.graphql
	.venv/bin/python -m graph.trusted > .venv/manifest.json
	mv .venv/manifest.json operations/manifest.json
	.venv/bin/python -m db.policy_table > .venv/policy.md
	mv .venv/policy.md docs/policy.md

bench: .venv/dev.stamp
	.venv/bin/python -m tests.bench.lab_partitions
	.venv/bin/python -m tests.bench.security
	.venv/bin/python -m tests.bench.engines $(ENGINES)

# Every relation for 1 to 1,000 parents: statements and time for each parent; ARGS="--population 200 --rounds 9".
bench-stores: .venv/dev.stamp
	.venv/bin/python -m tests.bench.relations $(ARGS)

# Readings of devices that the ingest worker records in a second; ARGS="--rate 20000 --seconds 60".
bench-ingest: .venv/dev.stamp
	.venv/bin/python -m tests.bench.ingest $(ARGS)

# A dataset for research from its request to its release: 100,000 patients; ARGS="--patients 20000 --chart-seconds 0".
bench-research: .venv/dev.stamp
	.venv/bin/python -m tests.bench.research $(ARGS)

# Takes guards out, one at a time, and demands a red test; MUTANTS="--sample 6 --seed x" or names try some of them.
mutants: .venv/dev.stamp
	.venv/bin/python -m tests.mutations $(MUTANTS)

# Resolves the versions in pyproject.toml again; the second file holds the first one's versions and the tools.
lock:
	@tools=$$(mktemp -d); trap 'rm -rf "$$tools"' EXIT; \
	$(PYTHON) -m venv "$$tools"; "$$tools/bin/pip" install --quiet --disable-pip-version-check uv; \
	compile() { "$$tools/bin/uv" pip compile --quiet pyproject.toml --group embedded --group demo --python-version 3.11 \
		--generate-hashes --no-annotate --no-header "$$@"; }; \
	compile --output-file requirements.lock; \
	compile --group dev --constraint requirements.lock --output-file requirements-dev.lock

.venv/run.stamp: requirements.lock
	@$(call install,$<)
	@touch $@

.venv/dev.stamp: requirements-dev.lock
	@$(call install,$<)
	@touch .venv/run.stamp $@

define install
fail() { echo "error: $$1" >&2; exit 1; }; \
command -v $(PYTHON) >/dev/null || fail "$(PYTHON) is missing (Debian: apt-get install python3 python3-venv)"; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed; set PYTHON=…"; \
$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	|| fail "Python's venv module is missing (Debian: apt-get install python3-venv)"; \
if ! .venv/bin/python -c 'import pip' 2>/dev/null; then $(PYTHON) -m venv --clear .venv; fi; \
all=$$(grep -c '^[A-Za-z0-9]' $(1)); echo "Installing the $$all packages of $(1) into .venv …"; \
.venv/bin/python -m pip install --require-hashes --requirement $(1) \
	--disable-pip-version-check --no-input --progress-bar off --retries 2 2>.venv/pip.log \
	| awk -v all="$$all" '/^(Collecting|Processing|Requirement already)/ && ++n % 20 == 0 { print "  " n " of " all; fflush() } \
		/^Installing/ { print "  unpacking"; fflush() }' \
	|| fail "the packages could not be installed; is the package registry reachable? (pip's words: .venv/pip.log)"
endef
