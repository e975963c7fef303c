# Every target that a person types is listed by `make help`.
SHELL := /bin/bash
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUILT ?= $(shell git log -1 --format=%cI 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.built=$(BUILT)
BIN := bin

.PHONY: help
help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 24

.PHONY: build
build: ## build bin/conclave-server (one static binary)
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/conclave-server ./cmd/conclave-server

.PHONY: test
test: ## run all tests that need no cluster and no ZooKeeper, with the race detector (builds an API server the first time: 11 minutes)
	KUBEBUILDER_ASSETS=$$(./hack/localcluster/assets.sh) && export KUBEBUILDER_ASSETS && go test -race -tags envtest ./...

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, generated files fresh
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo 'run gofmt -w on the files above'; exit 1; }
	go vet -tags envtest ./...
	go vet -tags conformance ./test/conformance/...
	go vet -tags diff ./test/diff/...
	go vet -tags faults ./test/faults/...
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

.PHONY: generated
generated: ## fail if a generated file is not fresh (needs protoc)
	./hack/generate.sh --check

.PHONY: test-sim
SEED ?= 0
SEEDS ?= 100
test-sim: ## SEEDS simulated ensembles under faults, from seed SEED on (100 take about two minutes; SEEDS=10000 for a night)
	SEED=$(SEED) SEEDS=$(SEEDS) go test -count=1 -timeout 24h ./test/sim

.PHONY: test-faults
FAULTS_SECONDS ?= 20
test-faults: build ## real processes under faults, histories judged; each storm takes FAULTS_SECONDS (28800 for a night; needs root, iproute2)
	CONCLAVE_BIN=$(abspath $(BIN)/conclave-server) FAULTS_SECONDS=$(FAULTS_SECONDS) go test -tags faults -count=1 -timeout 24h ./test/faults

.PHONY: test-conformance
test-conformance: build ## genuine Java, C and Go clients against a three-member ensemble (installs Debian's packages, needs root)
	./test/conformance/setup.sh
	CONCLAVE_BIN=$(abspath $(BIN)/conclave-server) go test -tags conformance -count=1 -timeout 30m ./test/conformance/...

.PHONY: test-conformance-zookeeper
test-conformance-zookeeper: ## the same suite against genuine ZooKeeper: how a test is known to be right
	./test/conformance/setup.sh
	CONFORMANCE_TARGET=zookeeper go test -tags conformance -count=1 -timeout 30m ./test/conformance/...

.PHONY: test-diff
OPS ?= 20000
test-diff: build ## kept scripts and OPS random operations on ZooKeeper and on Conclave, every answer compared (installs ZooKeeper)
	./test/conformance/setup.sh
	CONCLAVE_BIN=$(abspath $(BIN)/conclave-server) OPS=$(OPS) go test -tags diff -count=1 -timeout 2h -v -run 'TestScripts$$|TestRandom$$' ./test/diff

.PHONY: bench
bench: build ## Conclave and genuine ZooKeeper side by side (installs ZooKeeper; takes long; BENCH=-quick for a glance)
	./test/conformance/setup.sh
	go run ./test/bench $(BENCH)

.PHONY: bench-go
BASE ?= HEAD~1
bench-go: ## the Go benchmarks of this checkout and of commit BASE by turns, compared with benchstat
	./hack/benchstat.sh $(BASE)

.PHONY: run
run: build ## start an ensemble of three on this machine, with data under ./run
	./hack/ensemble.sh

.PHONY: clean
clean: ## remove what was built and the data under ./run
	rm -rf $(BIN) run dist
