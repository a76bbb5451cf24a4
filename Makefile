# Every command that a person or CI runs. `make` lists them.
.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

# A failing test says what it saw; where anyhow made the error adds pages of nothing.
export RUST_LIB_BACKTRACE := 0

CRATES := protocol process operator dataplane cli tests bench
PACKAGES := $(patsubst tcpforward-cli,tcpforward,$(addprefix tcpforward-,$(CRATES)))
# One selection of packages for all that builds or tests, so that dependencies are compiled once.
TEST := cargo test --locked --workspace

# Test files by level. Those with a network namespace need root.
level = $(basename $(notdir $(wildcard $(foreach crate,tests bench,$(addprefix $(crate)/tests/,$(addsuffix _*.rs,$(1)))))))
tests_of = $(addprefix --test ,$(1))
# Tests of one crate's public face, in its own tests folder.
CRATE_TESTS := $(basename $(notdir $(filter-out tests/% bench/%,$(wildcard $(addsuffix /tests/*.rs,$(CRATES))))))
ifneq ($(shell id -u),0)
LEFT_OUT := $(basename $(notdir $(shell grep -ls 'Network::Namespace' $(wildcard $(foreach crate,tests bench,$(addprefix $(crate)/tests/,$(addsuffix _*.rs,wire chart admit watch e2e)))))))
endif
WIRE := $(filter-out $(LEFT_OUT),$(call level,wire))
API := $(filter-out $(LEFT_OUT),$(call level,admit watch))
E2E := $(filter-out $(LEFT_OUT),$(call level,e2e))
CHART := $(filter-out $(LEFT_OUT),$(call level,chart))

ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

FUZZ_SECONDS ?= 60
FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))

.PHONY: help setup build image run programs fmt lint test test-unit test-wire test-chart test-api e2e kind-tools kind-up kind-test kind-down tidy alone torture soak bench bench-quick bench-path scale generate chart-golden check-generate deny fuzz doc

help: ## Lists the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-16s%s\n", $$1, $$2}' Makefile

setup: ## Installs what the tests need and builds their Kubernetes (10 minutes, once)
	tests/setup.sh test

build: ## Builds the programs for use, into target/release
	tests/setup.sh build
	cargo build --release --locked --workspace --bins

image: ## Makes the image of all programs, target/image/tcpforward.tar, without Docker
	tests/setup.sh image
	image/build.sh

run: ## Starts the quickstart: three demo servers, a forwarder over them and a CONNECT proxy
	tests/setup.sh build
	cargo build --release --locked --package tcpforward
	./examples/quickstart.sh

programs: ## Builds the programs under test, into target/debug
	cargo build --locked --workspace --bins

fmt: ## Formats the code
	cargo fmt --all

lint: ## Checks format and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	go run $(ACTIONLINT) .github/workflows/*.yaml

test: setup lint alone deny tidy test-unit test-wire test-chart test-api e2e ## Runs every gate
	@echo 'passed: format and lints; each crate alone; dependencies; the rules of the house;'
	@echo 'passed: unit ($(words $(CRATES)) crates $(CRATE_TESTS)); wire ($(WIRE)); chart ($(CHART)); api ($(API)); e2e ($(E2E))'
	@$(if $(LEFT_OUT),echo 'left out because they need root: $(LEFT_OUT)')

test-unit: ## Levels 1 and 2: each crate by itself
	$(TEST) --lib --bins $(call tests_of,$(CRATE_TESTS))

test-wire: programs ## Level 3: our programs over real sockets, no Kubernetes
	$(TEST) $(call tests_of,$(WIRE)) -- --test-threads=2

test-chart: programs ## The Helm charts: lint, golden files, rights, a real API server
	$(TEST) $(call tests_of,$(CHART)) -- --test-threads=2

test-api: programs ## Level 4: a real API server
	$(TEST) $(call tests_of,$(API)) -- --test-threads=2

e2e: image ## Level 5: our image and chart in a real cluster with two nodes (10 minutes; needs root)
	$(if $(E2E),$(TEST) $(call tests_of,$(E2E)) -- --test-threads=1,@echo 'left out because it needs root: e2e')

kind-tools:
	tests/setup.sh kind

KIND_NAME := tcpforward
KIND_CONFIG := target/kind.kubeconfig
SUITE := cargo run --locked --quiet --package tcpforward-tests --bin e2e --

kind-up: kind-tools image ## Makes a cluster with kind, which needs Docker, and loads our images
	kind create cluster --name $(KIND_NAME) --config tests/kind/cluster.yaml --kubeconfig $(KIND_CONFIG) --wait 2m
	$(SUITE) image target/pod.tar
	kind load image-archive --name $(KIND_NAME) target/image/tcpforward.tar target/pod.tar

kind-test: ## Level 5 in that cluster
	$(SUITE) run $(KIND_CONFIG)

kind-down: ## Removes it
	kind delete cluster --name $(KIND_NAME) --kubeconfig $(KIND_CONFIG)

tidy: programs ## Checks the rules of the house
	$(TEST) --test tidy

alone: ## Checks each crate without the others, so that no feature is missing in it
	for package in $(PACKAGES); do cargo check --locked --package $$package; done

# Rows to do; empty: all. A soak does one thing RUNS times, watches for MINUTES, moves GIBIBYTES (twenty
# times as many on one connection) and cuts the copy core's reads and writes in CASES ways.
ROWS :=
SOAK_ROWS := R5 R6 R17 R23 R24 R26 R30
RUNS := 200
MINUTES := 120
GIBIBYTES := 10
CASES := 1000000

torture: ## Does faults to ours and to HAProxy and prints one table (20 minutes; needs root)
	tests/setup.sh torture
	cargo build --release --locked --package tcpforward --package tcpforward-tests --bins
	target/release/torture $(ROWS)

soak: ## The same for hours, with RUNS, MINUTES, GIBIBYTES and CASES (needs root)
	tests/setup.sh torture
	PROPTEST_CASES=$(CASES) cargo test --release --locked --package tcpforward-dataplane --lib relay::copy
	cargo build --release --locked --workspace --bins
	target/release/torture soak $(RUNS) $(MINUTES) $(GIBIBYTES) $(SOAK_ROWS)

scale: ## Prints what an operator takes for 1,000 TcpForwards and 20,000 endpoints (10 minutes; needs root)
	tests/setup.sh test
	cargo build --release --locked --workspace --bins
	target/release/scale
	cargo bench --locked --workspace --bench core

# Optimised as in the image.
BENCH := cargo build --profile image --locked --package tcpforward --package tcpforward-bench --bins

bench: ## Measures ours beside HAProxy, nginx, Go and others: bench/RESULTS.md (15 minutes; root for its own network)
	tests/setup.sh bench
	$(BENCH)
	target/image/bench --write bench

bench-quick: ## The same in one short round, which is only printed (2 minutes)
	tests/setup.sh bench
	$(BENCH)
	target/image/bench --quick

bench-path: ## Measures transfers over a long path that loses packets: bench/PATH.md (10 minutes; needs root)
	tests/setup.sh bench-path
	$(BENCH)
	target/image/bench path --write bench

generate: ## Makes crds/ and docs/reference/ from the code
	cargo run --locked --quiet --package tcpforward-operator --bin crdgen -- crds
	for copy in charts/tcpforward/crds charts/tcpforward-crds/files; do \
	  rm -f $$copy/*.yaml && cp crds/*.yaml $$copy/; \
	done
	cargo run --locked --quiet --package tcpforward-tests --bin reference

CHART_SETS := $(patsubst tests/chart/%.values.yaml,%,$(wildcard tests/chart/*.values.yaml))

chart-golden: ## Makes tests/chart/*.golden.yaml of what the chart renders now
	for set in $(CHART_SETS); do tests/chart/render.sh "$$set" > "tests/chart/$$set.golden.yaml"; done

check-generate: ## Checks that they are what `make generate` makes
	$(TEST) --test tidy generated

fuzz: ## Fuzzes each parser of foreign bytes for FUZZ_SECONDS (60)
	tests/setup.sh fuzz
	for target in $(FUZZ_TARGETS); do \
	  cargo +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=16384; \
	done

deny: ## Checks licenses, sources and duplicates of dependencies
	cargo deny --locked check bans licenses sources

doc: ## Makes the API documentation
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps
