# The commands of this repository; each is whole: it makes what it needs.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# A failed recipe leaves no half-written target behind.
.DELETE_ON_ERROR:

UV_VERSION := 0.13.9
PYTHON ?= python3
BIN := .venv/bin
# Written last, so an interrupted `make venv` starts again.
VENV := .venv/.made
# A mirror that pip was told of serves uv too.
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
SOURCES := services gateway deploy tests
WORK := .liandong/make

.PHONY: $(shell grep -oE '^[a-z-]+:' $(MAKEFILE_LIST) | tr -d :)

help: ## Show these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(VENV) ## Make the virtual environment from the lock files

$(VENV): requirements.lock requirements-dev.lock pyproject.toml
	@echo "making .venv (a minute the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock -r requirements-dev.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

# Names, versions and hashes only: a lock file must not say where it was made.
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-annotate --no-header --python-version 3.11
lock: | $(VENV) ## Resolve the dependencies of pyproject.toml again
	$(LOCK) pyproject.toml -o requirements.lock
	$(LOCK) --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

sbom: $(VENV) ## Write the bill of materials (CycloneDX) of this release into dist/
	@$(BIN)/python -m deploy.sbom dist/liandong.cdx.json

# --- protos -----------------------------------------------------------------------------------------

PROTOS = $(sort $(shell cd protos && find liandong -name '*.proto'))
# A file without a service needs no gRPC stub.
SERVICE_PROTOS = $(sort $(shell cd protos && grep -lrE --include='*.proto' '^service ' liandong))
PROTOC := $(BIN)/python -m grpc_tools.protoc -I protos -I protos/third_party \
	--plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc
# $(call generate,FOLDER): every stub, in a folder that holds nothing else.
define generate
rm -rf $(1) && mkdir -p $(1)
$(PROTOC) --python_out=$(1) --mypy_out=quiet:$(1) $(PROTOS) buf/validate/validate.proto
$(PROTOC) --grpc_python_out=$(1) --mypy_grpc_out=quiet:$(1) $(SERVICE_PROTOS)
endef

protos: $(VENV) ## Generate the stubs in protos/gen
	@$(call generate,$(WORK)/gen)
	@rm -rf protos/gen && mv $(WORK)/gen protos/gen

# protovalidate 2.x knows validate.proto but does not carry it; the source archive of 1.2.0 does.
protos-third-party: $(VENV) ## Copy the protos of others that ours import
	rm -rf $(WORK)/sdist && mkdir -p $(WORK)/sdist
	$(BIN)/pip download --quiet --no-deps --no-binary protovalidate -d $(WORK)/sdist protovalidate==1.2.0
	tar -xzf $(WORK)/sdist/protovalidate-1.2.0.tar.gz -C $(WORK)/sdist
	install -D -m 644 $(WORK)/sdist/protovalidate-1.2.0/upstream/proto/buf/validate/validate.proto \
		protos/third_party/buf/validate/validate.proto
	for name in $$(grep -rhoE 'google/(type|rpc|api)/[a-z_/]+\.proto' protos/liandong | sort -u); do \
		install -D -m 644 $(BIN)/../lib/python3*/site-packages/$$name protos/third_party/$$name; done

# The contract as it was released: an image of our protos, without comments, so that it is small and the
# same every time. What the protos of others change is not ours to promise.
RELEASED := protos/releases/v1.binpb.gz
BUILD_IMAGE = cd protos && ../$(BIN)/buf build . --path liandong --exclude-source-info -o

define unbroken
@mkdir -p $(WORK)
@$(BUILD_IMAGE) ../$(WORK)/now.binpb.gz
@test -e $(RELEASED) || echo "no contract was released yet: make proto-release"
@test ! -e $(RELEASED) || { cd protos && ../$(BIN)/buf breaking ../$(WORK)/now.binpb.gz --against ../$(RELEASED) --exclude-imports; } || \
	{ echo "this breaks the released contract: docs/guides/versions.md says what may change"; exit 1; }
endef

proto-release: $(VENV) ## Release the contract: from then on `make check` refuses what breaks it
	$(call unbroken)
	@mkdir -p $(dir $(RELEASED)) && mv $(WORK)/now.binpb.gz $(RELEASED)
	@echo "released: commit $(RELEASED)"

proto-breaking: $(VENV) ## Hold the protos against the contract that was released
	$(call unbroken)

errors: $(VENV) ## Write docs/reference/errors.md again: every reason of an error, with its remedy
	@$(BIN)/python -m tests.contract.errors_page

guide: $(VENV) ## Show the Node.js files of tests/interop in the guide for institutions as they are
	@$(BIN)/python -m tests.interop.guide

# --- checks: no servers -----------------------------------------------------------------------------

fmt: $(VENV) ## Format the code and the protos
	$(BIN)/ruff check --fix-only --quiet $(SOURCES)
	$(BIN)/ruff format --quiet $(SOURCES)
	cd protos && ../$(BIN)/buf format --write

CHECKED := tests/test_tidy.py tests/contract/test_errors_page.py
# Types take as long as all the rest: one on each core.
check: $(VENV) ## Everything static: format, lint, types, contracts, protos, tidiness
	@$(MAKE) -j 2 --output-sync=target check-types check-rest

check-types: $(VENV)
	$(BIN)/mypy

check-rest: $(VENV)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/lint-imports --no-logo
	cd protos && ../$(BIN)/buf lint && ../$(BIN)/buf format --diff --exit-code
	$(call unbroken)
	$(call generate,$(WORK)/gen)
	diff -r $(WORK)/gen protos/gen --exclude=__pycache__ || { echo "protos/gen is stale: run make protos"; exit 1; }
	$(BIN)/codespell
	$(BIN)/pytest --quiet $(CHECKED)

# --- tests: real servers, started by the fixtures -----------------------------------------------------

# Each worker has servers of its own; tests/schedule.py says which files stay together and begin first.
test: $(VENV) ## All tests in their short form, but for those of `make check`
	$(BIN)/pytest -m "" -n 2 --dist loadfile --no-loadscope-reorder $(addprefix --ignore=,$(CHECKED))

# What has a short form above (tests/lengths.py) and no target of its own.
LONG_OF := tests/attack tests/live tests/programmes tests/claims tests/deploy tests/kernel tests/loans tests/funds
test-long: $(VENV) ## The long form of the trials that `make test` shortens: every swap, 500 examples, large files
	LIANDONG_TEST_LONG=1 LIANDONG_MATRIX_WHOLE=1 LIANDONG_FUZZ_SECONDS=60 \
		$(BIN)/pytest -q -m "" -n 2 --dist loadfile --no-loadscope-reorder --timeout=3600 $(LONG_OF)

test-fast: $(VENV) ## Only the tests that need no server
	$(BIN)/pytest

KIND ?=
FAULTS := LIANDONG_FAULTS_REPORT=docs/evidence $(if $(KIND),LIANDONG_FAULTS_KEEP=1) \
	$(BIN)/pytest -q -m faults -p tests.faults.report -k "$(KIND)"
faults: $(VENV) ## Every kind of fault once under load, each with its control; KIND=NAME only those
	LIANDONG_FAULTS_ROUNDS=1 $(FAULTS) tests/faults/test_trials*.py

drill: $(VENV) ## Back a county's year up under load, lose it, restore it to two moments; prints drill: ...
	@$(BIN)/python -m tests.drill

rolling: $(VENV) ## Restart every process in turn under a county's year; prints rolling: ... failed=0
	@$(BIN)/python -m tests.drill rolling

EXCEPTS ?= tests
excepts: $(VENV) ## Run EXCEPTS=tests and name every `except` that none of them reached
	@$(BIN)/python -m tests.excepts --clear
	@$(BIN)/pytest -q -m "" -n 2 --dist loadfile --no-loadscope-reorder -p tests.excepts.plugin $(EXCEPTS)
	@$(BIN)/python -m tests.excepts

SEEDS ?= 10
faults-long: $(VENV) ## The same with SEEDS=10 seeds, 300 kills under payouts, years of random kills
	LIANDONG_FAULTS_SECONDS=86400 LIANDONG_FAULTS_ROUNDS=$(SEEDS) LIANDONG_FAULTS_KILLS=300 LIANDONG_FAULTS_SEEDS=$(SEEDS) $(FAULTS) tests/faults

loans-long: $(VENV) ## A hundred thousand steps of a loan's life against a plain model
	LIANDONG_LOANS_LONG=1 $(BIN)/pytest -m "" --timeout=7200 tests/loans/test_life.py

reservations-long: $(VENV) ## Fifty requests for ten covers at once, a thousand rounds
	LIANDONG_RESERVATIONS_LONG=1 $(BIN)/pytest -m "" --timeout=7200 tests/funds/test_cover.py -k fifty

sagas-long: $(VENV) ## Ten thousand histories of the sagas, and a thousand seeds for each planted fault
	LIANDONG_SAGAS_HISTORIES=10000 LIANDONG_SAGAS_SEEDS=1000 $(BIN)/pytest -m "" --timeout 20000 --log-cli-level=INFO tests/sagas

# No server and no client: histories of the sagas in memory, and faults planted in them.
sim: $(VENV) ## A hundred thousand simulated histories of the sagas, and every planted fault found
	@$(BIN)/python -m tests.sim

HISTORIES ?= 10000000
sim-long: $(VENV) ## The same, HISTORIES=10000000 of them; goes on where it was stopped, writes docs/evidence/sim.md
	@$(BIN)/python -m tests.sim --long --histories $(HISTORIES)

IMPORT_LINES ?= 200000
import-long: $(VENV) ## Import 200,000 lines, the client and the platform killed on the way
	LIANDONG_IMPORT_LINES=$(IMPORT_LINES) $(BIN)/pytest -m faults --log-cli-level=INFO tests/faults/test_import.py

# --- attacks: another's ids, broken bodies, people who must be left nowhere ------------------------------

access-matrix: $(VENV) ## Every role at every method about everybody's things; prints cells=... wrong=0
	LIANDONG_MATRIX_WHOLE=1 $(BIN)/pytest -q -m "" --timeout=3600 --log-cli-level=INFO tests/attack/test_access_matrix.py

fuzz: $(VENV) ## A minute of broken requests of every type through the gateway
	LIANDONG_FUZZ_SECONDS=60 $(BIN)/pytest -q -m "" --timeout=5400 --log-cli-level=INFO tests/attack/test_fuzz.py

fuzz-long: $(VENV) ## The same for an hour; LIANDONG_FUZZ_SEED and LIANDONG_FUZZ_CASE ask one case again
	LIANDONG_FUZZ_SECONDS=3600 $(BIN)/pytest -q -m "" --timeout=5400 --log-cli-level=INFO tests/attack/test_fuzz.py

canaries: $(VENV) ## All suites on platforms, then a search for everybody who was sent to them
	LIANDONG_TEST_LONG=1 $(BIN)/pytest -q -m "" -p tests.attack.canary_plugin --timeout=3600 --log-cli-level=INFO tests/attack tests/flows tests/live

# --- the console ----------------------------------------------------------------------------------------

console-test: $(VENV) ## The console in headless Chromium; leaves its pictures in docs/guides/operators
	LIANDONG_CONSOLE_TEST=1 $(BIN)/pytest -q -m "" -s --timeout=900 tests/console

console-long: $(VENV) ## The console's pages on a county with 500,000 loans; prints console: ... slowest_page_ms=
	LIANDONG_CONSOLE_LOANS=500000 $(BIN)/pytest -q -m "" -s --timeout=3600 tests/console/test_very_many_loans.py

# --- programmes: packs, cases, and the rows they come from ---------------------------------------------

CASES ?= tests/programmes/cases/golden.json
cases: $(VENV) ## Decide every case of CASES=FILE; the golden cases when none is named
	@$(BIN)/liandong programmes cases $(CASES)

cases-live: $(VENV) ## Ask the running services the cases of CASES=FILE, and say which have no RPC path
	@$(BIN)/python -m tests.live $(CASES)

rows: $(VENV) ## For each row that must be computable, the tests that name it
	@$(BIN)/python -m tests.programmes.row_index

programmes: $(VENV) ## Write the JSON Schemas and docs/programmes-coverage.md again
	@mkdir -p $(WORK)
	@$(BIN)/liandong programmes schema pack > $(WORK)/pack.schema.json
	@$(BIN)/liandong programmes schema county > $(WORK)/county.schema.json
	@mv $(WORK)/pack.schema.json $(WORK)/county.schema.json services/programmes/
	@$(BIN)/python -m tests.programmes.coverage

# --- the platform on this machine -----------------------------------------------------------------------

up: $(VENV) ## Start PostgreSQL, NATS, the services and the gateway, and stay
	$(BIN)/liandong up

down: $(VENV) ## Stop what `make up` started
	$(BIN)/liandong down

demo: $(VENV) ## Run a county's year through the gateway; empties its own data folder first
	$(BIN)/liandong demo

# NOTE says on the page what else ran; TIMES=0.25 makes all of it smaller; ONLY="relay import" measures these alone.
BENCH = $(BIN)/python -m tests.bench --rounds $(ROUNDS) --times $(TIMES) $(addprefix --only ,$(ONLY)) --note "$(NOTE)"
ROUNDS ?= 3
TIMES ?= 1
bench: $(VENV) ## Measure each figure beside this machine's own limit, into docs/evidence (FULL=1: a county)
	$(BENCH) --size $(if $(FULL),county,short) --json docs/evidence/bench.json --page docs/evidence/bench.md

# One round: the identity numbers of made-up people run out in a second one.
bench-province: ROUNDS = 1
bench-province: $(VENV) ## Import, re-score and day close of a province; hours and 60 GB (TIMES=0.1: a tenth)
	$(BENCH) --size province $(if $(ONLY),,--only import --only rescores --only loans) \
		--json docs/evidence/bench-province.json --page docs/evidence/bench-province.md

bench-peers: $(VENV) ## Beside pgbench, an ORM and the peers that LIANDONG_PEERS=PYTHON has (tests/bench/outside)
	$(BENCH) $(if $(ONLY),,--only relay --only peers --only settlements --only strangers) --json docs/evidence/bench-peers.json --page docs/evidence/bench-peers.md

bench-growth: $(VENV) ## The same runs at a tenth, once and twice the size, plotted
	$(BIN)/python -m tests.bench.growth --rounds $(ROUNDS) --times $(TIMES) --note "$(NOTE)"

soak: $(VENV) ## Thirty minutes at 70 % of saturation; LIANDONG_SOAK_MINUTES=2 for a short one
	$(BIN)/python -m tests.bench.soak --note "$(NOTE)"
