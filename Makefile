# Every target does all of its own set-up: Python 3.11 with venv and pip is all that has to be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
CODE := controlplane tests tools
PYTEST := $(BIN)/python -m pytest -q
PURE := tests/unit tests/conversations tests/laws tests/golden
EDGES := tests/edges tests/live tests/kube
BUSY := tests/kube/test_busy_status.py tests/kube/test_soak.py
# Where a figure stands (within, at_most of tests/support/waiting.py): which files hold one is read off them.
MEASURED = $(shell grep -le 'waiting import.*within' -e 'waiting import.*at_most' -e 'kube_objects import.*seen' $(addsuffix /test_*.py,$(EDGES)))

.DEFAULT_GOAL := help
.PHONY: help demo demo-kubernetes test binaries consul check format lint types layers shape golden crds fields bench bench-check bench-kubernetes measure prove everything clean pure

help: ## Show what can be made
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock pyproject.toml
	@echo "setting up $(VENV): once, about a minute"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.typings/.stamp: $(STAMP) tools/stubs.py
	@rm -rf .typings
	@$(BIN)/python -m tools.stubs .typings
	@touch $@

demo: $(STAMP) ## Show a mesh of real Envoys at work, with proofs (30 s)
	@$(BIN)/navarch demo

demo-kubernetes: $(STAMP) ## The same by kubectl apply, on an API server of its own
	@$(BIN)/python -m tests.support.with_cluster $(BIN)/navarch demo --kubernetes

test: format lint layers shape binaries ## Run everything: the checks, the edges, real Envoys, a real API server (12 min)
	@$(MAKE) --no-print-directory -j2 types everything

everything: .typings/.stamp
	$(PYTEST) -n 4 --dist loadfile --no-loadscope-reorder --tb=short -rs $(wildcard $(EDGES) $(PURE))

prove: .typings/.stamp ## Try the laws, and the simulator on real Envoys, on 20 times as many random cases as make test, every supported Envoy, and a mesh for 10 min
	NAVARCH_PROVE=$${NAVARCH_PROVE:-20} $(PYTEST) -n 2 --dist worksteal $(filter-out $(BUSY),$(shell grep -rle '@given' -e 'proofs import' tests --include='test_*.py'))
	NAVARCH_PROVE=$${NAVARCH_PROVE:-20} $(PYTEST) -s -o faulthandler_timeout=1200 $(BUSY)

binaries: $(STAMP) ## Build what the tests run beside us (API server, collector, rate limit service) and the benchmark's sidecars, where Go is there (9 min, once)
	@$(BIN)/python -m tests.support.kube_binaries
	@$(BIN)/python -m tests.support.otlp_receivers
	@$(BIN)/python -m tests.support.rate_limit_service
	@-$(BIN)/python -m tests.support.helm
	@-$(BIN)/python -m tests.support.zipkin_servers
	@$(BIN)/python -m tests.bench.swarm_process

consul: $(STAMP) ## Build the Consul of the live tests, where it is missing and Go is there (5 min and 2 GB of memory, once)
	@$(BIN)/python -m tests.support.consul.binary

check: format lint types layers shape pure bench-check ## Run what needs no Envoy: style, types, layers, sizes, pure tests, costs that are counted

format: $(STAMP) ## Check the format (ruff format mends it)
	$(BIN)/ruff format --check -q $(CODE)

lint: $(STAMP) ## Check the rules of style
	$(BIN)/ruff check -q $(CODE)

types: .typings/.stamp ## Check the types, those of Envoy's messages too
	$(BIN)/mypy

layers: $(STAMP) ## Check that rooms import downwards only
	$(BIN)/lint-imports --no-cache

shape: $(STAMP) ## Check the size of modules and functions
	$(BIN)/python -m tools.shape

pure: .typings/.stamp
	$(PYTEST) -n 2 --dist worksteal $(wildcard $(PURE))

golden: $(STAMP) ## Write the golden files anew; read the difference
	$(BIN)/python -m tests.support.golden_files

crds: $(STAMP) ## Write manifests/crds anew from the models
	@rm -f manifests/crds/*.yaml
	@$(BIN)/navarch crds --output manifests/crds

fields: $(STAMP) ## Write docs/fields.md anew: what comes of each field that is read
	@$(BIN)/python -m tests.support.fields.page
	@$(BIN)/python -m tests.support.fields.from_istio

bench: $(STAMP) ## Measure, and write docs/performance.md: up to 1,000 sidecars, 10,000 services, two replicas (8 min)
	$(BIN)/python -m tests.bench --page docs/performance.md

bench-kubernetes: $(STAMP) ## Measure 500 sidecars on 1,000 services of a real API server
	$(BIN)/python -m tests.bench --kubernetes

bench-check: $(STAMP) ## Hold what a change costs, in queries and bytes: as much at 5,000 services as at 1,000
	$(BIN)/python -m tests.bench.check

measure: $(STAMP) ## Hold the figures: how quickly things happen, where nothing else runs
	NAVARCH_MEASURE=1 $(PYTEST) -s $(MEASURED)

clean: ## Remove what was built
	rm -rf $(VENV) .typings .cache build *.egg-info
