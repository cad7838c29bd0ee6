# Everything that is done to this tree more than once. `make` alone lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO      ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X github.com/waybill-data/waybill/internal/cli.linked=$(VERSION)

# The linter is built from source by the Go of this machine: a prebuilt one may be too old for it.
GOLANGCI_VERSION := v2.15.0
GOLANGCI         := bin/golangci-lint-$(GOLANGCI_VERSION)

# Later ones need a newer Go than that of go.mod (v2.18), or a module that could not be had where this was tried (v2.17).
GORELEASER_VERSION := v2.15.0
GORELEASER         := bin/goreleaser-$(GORELEASER_VERSION)

# How many seeds `make sim` runs; SIM_FLAGS takes further flags of the simulator.
SEEDS     ?= 10000
SIM_FLAGS ?=

# How long `make soak` goes on.
SOAK ?= 30m

# How many rows `make e2e-long` audits, and how many it compares with as many others.
AUDIT_ROWS ?= 50000000
DIFF_ROWS ?= 20000000

# How many rows `make e2e-long` has backfills of.
BACKFILL_ROWS ?= 20000000

# Flags of `make bench`.
BENCH_FLAGS ?=

# Packages for `make test` and `make lint`.
PKG ?= ./...

# Packages that have one goroutine: the race detector has nothing to find there, and would take minutes.
ALONE := /internal/(column|decode/.*|sim|sim/.*)$$

##@ Everyday

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/waybill
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/waybill ./cmd/waybill

.PHONY: test
test: engines ## Run all tests, against real engines, with the race detector where there are goroutines (PKG=./internal/... for some)
	@$(GO) list $(PKG) | { grep -E '$(ALONE)' || true; } | xargs -r -t $(GO) test
	@$(GO) list $(PKG) | { grep -vE '$(ALONE)' || true; } | xargs -r -t $(GO) test -race -timeout 45m

.PHONY: demo
demo: build ## Show it at work: a broker, a ClickHouse, a pipeline, on this machine
	tools/engines/fetch clickhouse
	./bin/waybill demo

.PHONY: lint
lint: $(GOLANGCI) ## Run the linters (.golangci.yml; PKG=... for some packages)
	$(GOLANGCI) run $(PKG)
	cd bench && ../$(GOLANGCI) run ./...
	cd tools/helm && ../../$(GOLANGCI) run ./...

.PHONY: fmt
fmt: ## Format all Go files
	gofmt -w $(GO_FILES)

##@ Long runs

.PHONY: sim
sim: ## Run the seeded simulator and its negative controls (SEEDS=10000)
	$(GO) run ./internal/sim/cmd/waybill-sim -seeds $(SEEDS) -matrix $(SIM_FLAGS)
	$(GO) run ./internal/sim/cmd/waybill-sim -seeds $(SEEDS) -routed $(SIM_FLAGS)
	$(GO) run ./internal/sim/cmd/waybill-sim -seeds $(SEEDS) -handover $(SIM_FLAGS)
	$(GO) run ./internal/sim/cmd/waybill-sim -mutants

.PHONY: e2e
e2e: engines ## Run every end-to-end case (WAYBILL_EVIDENCE=1 keeps the report; WAYBILL_E2E_SEED=n repeats)
	WAYBILL_E2E=full $(GO) test ./e2e -count=1 -v -timeout 60m
	WAYBILL_E2E=full $(GO) test ./internal/engine -run "^TestCodes_" -count=1 -timeout 30m

.PHONY: scale-out
scale-out: engines ## Measure 1, 2, 4 and 8 workers of one group and keep that in docs/evidence (ROWS=thousands)
	WAYBILL_E2E_SCALE=$(or $(ROWS),300) $(GO) test ./e2e -run TestWorkers_ScaleOut -parallel 1 -count=1 -v -timeout 60m

.PHONY: soak
soak: engines ## 30 minutes through restarts: no false alarm, and memory, goroutines, files stay flat (SOAK=30m; keeps docs/evidence/soak.txt)
	@test -z "$$(git status --porcelain)" || { echo "commit first: evidence names a commit"; exit 1; }
	WAYBILL_E2E_CLEAN=$(SOAK) WAYBILL_SOAK_EVIDENCE=$(CURDIR)/docs/evidence/soak.txt $(GO) test ./e2e -run '^Test(Clean|Flat)_' -count=1 -v -timeout 120m

.PHONY: e2e-long
e2e-long: engines ## Audit, compare and backfill large tables and keep what that found and cost (AUDIT_ROWS=n DIFF_ROWS=n BACKFILL_ROWS=n; an hour, 10 GB of disk)
	@test -z "$$(git status --porcelain)" || { echo "commit first: evidence names a commit"; exit 1; }
	WAYBILL_AUDIT_ROWS=$(AUDIT_ROWS) WAYBILL_AUDIT_EVIDENCE=$(CURDIR)/docs/evidence/audit-50m.txt $(GO) test ./internal/audit -run '^TestScale$$' -count=1 -v -timeout 60m
	WAYBILL_DIFF_ROWS=$(DIFF_ROWS) WAYBILL_DIFF_EVIDENCE=$(CURDIR)/docs/evidence/backfill-diff-20m.txt $(GO) test ./internal/backfill/diff -run '^TestScale$$' -count=1 -v -timeout 60m
	$(MAKE) --no-print-directory backfill-long

# The working tree may hold what the runs before have written.
.PHONY: backfill-long
backfill-long: engines ## Backfill many rows with kills at every step and keep what that found and cost (BACKFILL_ROWS=n)
	@test -z "$$(git status --porcelain -- . ':!docs/evidence')" || { echo "commit first: evidence names a commit"; exit 1; }
	@rm -f $(BACKFILL_EVIDENCE)
	WAYBILL_BACKFILL_ROWS=$(BACKFILL_ROWS) WAYBILL_BACKFILL_EVIDENCE=$(BACKFILL_EVIDENCE) $(GO) test ./e2e -run '^TestBackfillLong$$' -count=1 -v -parallel 1 -timeout 120m

# Without the race detector: the processes that are tested never have it, and the comparisons with the generator would take longer than they do.
.PHONY: backfill-some
backfill-some: engines ## The same with 5 million rows and some kills of each command, without evidence, in minutes (ROWS=n)
	WAYBILL_BACKFILL_ROWS=$(or $(ROWS),5000000) WAYBILL_BACKFILL_KILLS=some $(GO) test ./e2e -run '^TestBackfillLong$$' -count=1 -v -parallel 1 -timeout 40m

.PHONY: evidence
evidence: engines ## Run sim and e2e in full and keep their outputs in docs/evidence
	@test -z "$$(git status --porcelain)" || { echo "commit first: evidence names a commit"; exit 1; }
	{ echo "# make sim, commit $$(git rev-parse HEAD), $$(date -u +%F)"; $(MAKE) --no-print-directory sim 2>/dev/null; } > docs/evidence/sim.txt
	WAYBILL_E2E=full WAYBILL_EVIDENCE=1 $(GO) test ./e2e -count=1 -timeout 90m

.PHONY: bench
bench: engines build ## Measure Waybill beside its peers, on kfake and Kafka, in 15 minutes or more (BENCH_FLAGS, see docs/performance.md)
	cd bench && $(GO) build -o ../bin/waybill-bench ./cmd/waybill-bench
	bin/waybill-bench $(BENCH_FLAGS)

.PHONY: bench-quick
bench-quick: engines ## Test the benchmark harness: everything that `make bench` does, in about a minute
	cd bench && $(GO) test ./...

.PHONY: backfill-cost
backfill-cost: engines build ## Measure what a backfill costs the live pipeline and how fast it is, and keep that (BENCH_FLAGS)
	@test -z "$$(git status --porcelain)" || { echo "commit first: evidence names a commit"; exit 1; }
	cd bench && $(GO) build -o ../bin/waybill-bench ./cmd/waybill-bench
	bin/waybill-bench -backfill -broker kafka -workload small $(BENCH_FLAGS) | tee docs/evidence/backfill-cost.txt

.PHONY: bench-report
bench-report: ## Put the results in docs/evidence/bench.json into docs/performance.md
	cd bench && $(GO) run ./cmd/waybill-bench -report -out ../docs/evidence/bench.json -doc ../docs/performance.md

.PHONY: microbench
microbench: engines ## Run the Go benchmarks (allocations included)
	$(GO) test -run '^$$' -bench . -benchmem $(PKG)

.PHONY: fuzz
fuzz: ## Run each fuzz test for 30 seconds
	@$(GO) list -f '{{.Dir}} {{.ImportPath}}' ./... | while read -r dir pkg; do \
		{ grep -ho '^func Fuzz[A-Za-z0-9_]*' "$$dir"/*_test.go 2>/dev/null || true; } | sed 's/^func //' | while read -r name; do \
			echo "== $$pkg $$name"; \
			$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime 30s "$$pkg"; \
		done; \
	done

##@ What must hold before a commit

.PHONY: generate
generate: ## Make everything that is generated anew
	$(GO) generate ./...

.PHONY: verify
verify: ## Fail on stale files: formatting, generated code, go.mod, the report of the benchmarks
	@unformatted="$$(gofmt -l $(GO_FILES))"; \
		if [[ -n "$$unformatted" ]]; then echo "not formatted (make fmt):"; echo "$$unformatted"; exit 1; fi
	$(GO) mod tidy -diff
	$(GO) mod verify
	cd bench && $(GO) mod tidy -diff && $(GO) mod verify
	cd tools/helm && $(GO) mod tidy -diff && $(GO) mod verify
	cd bench && $(GO) run ./cmd/waybill-bench -check -out ../docs/evidence/bench.json -doc ../docs/performance.md
	@before="$$(mktemp)"; after="$$(mktemp)"; trap 'rm -f "$$before" "$$after"' EXIT; \
		$(TREE_STATE) > "$$before"; $(GO) generate ./...; $(TREE_STATE) > "$$after"; \
		diff -u "$$before" "$$after" || { echo "generated files are stale (make generate)"; exit 1; }

.PHONY: release-check
release-check: $(GORELEASER) ## Check .goreleaser.yaml, and make all of a release but the release (dist/; builds four binaries, takes minutes)
	$(GORELEASER) check
	$(GORELEASER) release --snapshot --clean

##@ Setting up and cleaning up

.PHONY: engines
engines: ## Fetch or build into tools/engines/.cache what tests run against: ClickHouse, Kafka, Prometheus, Helm ...
	@tools/engines/fetch all

.PHONY: clean
clean: ## Remove what was built; the linter and the engines stay (see distclean)
	rm -rf bin/waybill bin/waybill-bench dist completions man coverage.out

.PHONY: distclean
distclean: clean ## Remove the linter and the engines too
	rm -rf bin tools/engines/.cache

$(GOLANGCI):
	@echo "building golangci-lint $(GOLANGCI_VERSION) (once, takes minutes)"
	@mkdir -p bin
	GOBIN="$(CURDIR)/bin" $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv bin/golangci-lint $@

$(GORELEASER):
	@echo "building goreleaser $(GORELEASER_VERSION) (once, takes minutes)"
	@mkdir -p bin
	GOBIN="$(CURDIR)/bin" $(GO) install github.com/goreleaser/goreleaser/v2@$(GORELEASER_VERSION)
	mv bin/goreleaser $@

# backfill-20m.txt for 20 million rows.
BACKFILL_EVIDENCE = $(CURDIR)/docs/evidence/backfill-$(shell echo $$(( $(BACKFILL_ROWS) / 1000000 )))m.txt

# Go files that are ours: those that git knows or would take.
GO_FILES = $$(git ls-files --cached --others --exclude-standard -- '*.go' | while read -r f; do if [[ -e "$$f" ]]; then echo "$$f"; fi; done)

# What the tree looks like, changed files by content: the difference before and after is what was stale.
TREE_STATE = git ls-files --cached --others --exclude-standard | while read -r f; do if [[ -f "$$f" ]]; then cksum "$$f"; fi; done
