# Every target that a person types is listed by `make help`.
SHELL := /bin/bash
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUILT ?= $(shell git log -1 --format=%cI 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.built=$(BUILT)
BIN := bin

.PHONY: help
help: ## show this
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 24

.PHONY: demo demo-image
demo: ## start here: a Kubernetes on this machine, an ensemble, an election, and what becomes of them (CLUSTER=current: kubectl's cluster)
	@./hack/demo/demo.sh

DEMO_IMG ?= conclave-candidate:demo
demo-image: ## dist/candidate-image.tar: the demo's ZooKeeper client, for CLUSTER=current (DEMO_IMG=name:tag)
	@./hack/demo/image.sh dist/candidate-image.tar '$(DEMO_IMG)'

.PHONY: build
build: ## build all programs into bin: conclave-server, conclave-operator and the plugin kubectl-conclave, each one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/...

.PHONY: server
server: ## build bin/conclave-server alone
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/conclave-server ./cmd/conclave-server

.PHONY: test
test: ## run all tests that need no cluster and no ZooKeeper, with the race detector (builds an API server the first time: 11 minutes)
	KUBEBUILDER_ASSETS=$$(./hack/localcluster/assets.sh) && export KUBEBUILDER_ASSETS && go test -race -timeout 20m -tags envtest ./...

.PHONY: lint
lint: ## gofmt, go vet, staticcheck (generated files: make generated)
	@files=$$(gofmt -l .) && test -z "$$files" || { echo "run gofmt -w on: $$files" >&2; exit 1; }
	go vet -tags envtest ./...
	go vet -tags conformance ./test/conformance/...
	go vet -tags suites ./test/suites/...
	go vet -tags diff ./test/diff/...
	go vet -tags faults ./test/faults/...
	go vet -tags cluster ./test/cluster/...
	go vet -tags e2e ./test/e2e/...
	for module in hack/image hack/localcluster/build/{coredns,pause,provisioner}; do (cd $$module && GOFLAGS=-trimpath CGO_ENABLED=0 go vet ./...) || exit 1; done
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

.PHONY: generated
generated: ## fail if a generated file is not fresh (needs protoc)
	./hack/generate.sh --check

.PHONY: test-crashes
test-crashes: ## the operator killed after each of its changes, and each of them failing once, in every story (make test takes a few of them)
	EVERY_CHANGE=1 go test -count=1 -timeout 4h -run 'Killed|EveryChange' ./controllers

.PHONY: test-sim
SEED ?= 0
SEEDS ?= 100
test-sim: ## SEEDS simulated ensembles under faults, from seed SEED on (100 take about two minutes; SEEDS=10000 for a night)
	SEED=$(SEED) SEEDS=$(SEEDS) go test -count=1 -timeout 24h ./test/sim

.PHONY: test-faults
FAULTS_SECONDS ?= 20
test-faults: server ## real processes under faults, histories judged; each storm takes FAULTS_SECONDS (28800 for a night; needs root, iproute2; installs Debian's Java client)
	./test/conformance/setup.sh
	CONCLAVE_BIN=$(abspath $(BIN)/conclave-server) FAULTS_SECONDS=$(FAULTS_SECONDS) go test -tags faults -count=1 -timeout 24h ./test/faults

.PHONY: test-conformance
test-conformance: server ## genuine Java, C and Go clients against a three-member ensemble (installs Debian's packages, needs root)
	./test/conformance/setup.sh
	CONCLAVE_BIN=$(abspath $(BIN)/conclave-server) go test -tags conformance -count=1 -timeout 30m ./test/conformance/...

.PHONY: test-conformance-zookeeper
test-conformance-zookeeper: ## the same suite against genuine ZooKeeper: how a test is known to be right
	./test/conformance/setup.sh
	CONFORMANCE_TARGET=zookeeper go test -tags conformance -count=1 -timeout 30m ./test/conformance/...

.PHONY: test-suites
test-suites: server ## kazoo's and go-zookeeper's own tests against Conclave (Debian, root: it installs kazoo)
	./test/suites/setup.sh
	CONCLAVE_BIN=$(abspath $(BIN)/conclave-server) go test -tags suites -count=1 -timeout 30m -v ./test/suites

.PHONY: test-diff
OPS ?= 20000
test-diff: server ## kept scripts and OPS random operations on ZooKeeper and on Conclave, every answer compared (installs ZooKeeper)
	./test/conformance/setup.sh
	CONCLAVE_BIN=$(abspath $(BIN)/conclave-server) OPS=$(OPS) go test -tags diff -count=1 -timeout 2h -v -run 'TestScripts$$|TestRandom$$' ./test/diff

.PHONY: bench
bench: server ## Conclave and genuine ZooKeeper side by side (installs ZooKeeper; takes long; BENCH=-quick for a glance)
	./test/conformance/setup.sh
	go run ./test/bench $(BENCH)

.PHONY: bench-go
BASE ?= HEAD~1
bench-go: ## the Go benchmarks of this checkout and of commit BASE by turns, compared with benchstat
	./hack/benchstat.sh $(BASE)

.PHONY: bench-leases
bench-leases: ## the operator's Leases on the local cluster, in numbers (needs root; about ten minutes; BENCH=-quick for a glance; CLUSTER_KEEP=1 leaves the cluster)
	./hack/bench-leases.sh $(BENCH)

.PHONY: run
run: server ## start an ensemble of three on this machine, with data under ./run
	./hack/ensemble.sh

.PHONY: image
TAG ?= conclave:$(VERSION)
image: ## dist/conclave-image.tar: the image for amd64 and arm64, without Docker (TAG=name:tag)
	@VERSION='$(VERSION)' BUILT='$(BUILT)' ./hack/image/archive.sh dist/conclave-image.tar '$(TAG)'

.PHONY: test-image
test-image: ## two builds of the image are the same, and the Dockerfile builds with buildah (installs it, needs root)
	cd hack/image && go vet ./... && go test -count=1 ./...
	./hack/image/test.sh

.PHONY: cluster-build
cluster-build: ## compile Kubernetes into the user's cache folder (the first time 11 minutes or more)
	@go run ./hack/localcluster build >/dev/null

.PHONY: cluster-up
NODES ?= 1
cluster-up: ## a real Kubernetes of NODES nodes on this machine (Linux, needs root; docs/development.md)
	@go run ./hack/localcluster up -nodes $(NODES)

.PHONY: cluster-down
cluster-down: ## end it and remove all that there is of it
	@go run ./hack/localcluster down

.PHONY: cluster-status
cluster-status: ## what of it runs, and what has crashed
	@go run ./hack/localcluster status

.PHONY: cluster-load
IMAGE ?= dist/conclave-image.tar
cluster-load: ## give all nodes the images of an archive (IMAGE=archive.tar; make image's by default)
	@go run ./hack/localcluster load '$(IMAGE)'

.PHONY: test-cluster
test-cluster: ## a three-node cluster, its workloads, its faults and its end (CLUSTER=current: kubectl's cluster; needs CLUSTER_IMAGE)
	CLUSTER=$(CLUSTER) go test -tags cluster -count=1 -timeout 40m -v ./test/cluster

.PHONY: test-e2e
TEST ?= .
# What covers most of it in some ten minutes: make test-e2e-short, or
# make test-e2e TEST='$(E2E_SHORT)'.
E2E_SHORT := ^Test(Founding|ScaleToFiveAndBack|OperatorKilledInMidRoll|NodesDrained|BadImage|StrangersAreRefused|MetricsOfTheOperatorWantAToken|VolumesLost|DNSOutage|SessionsInStatus|LeasesThroughFailover)$$
.PHONY: test-e2e-short
test-e2e-short: TEST := $(E2E_SHORT)
test-e2e-short: test-e2e ## the part of test-e2e that covers most in some ten minutes
test-e2e: ## the operator in a three-node cluster, under genuine clients, faults included (TEST=regexp; CLUSTER=current needs CLUSTER_IMAGE, CLUSTER_IMAGE_NEXT; installs Debian's Java and C clients)
	./test/conformance/setup.sh
	CLUSTER=$(CLUSTER) go test -tags e2e -count=1 -timeout 2h -v -run '$(TEST)' ./test/e2e

.PHONY: nightly
nightly: ## what takes too long for .ci/run: every crash of the operator, many simulated ensembles, long storms, and the whole of the comparison with ZooKeeper
	$(MAKE) test-crashes
	$(MAKE) test-sim SEEDS=10000
	$(MAKE) test-faults FAULTS_SECONDS=1800
	$(MAKE) test-diff OPS=2000000
	$(MAKE) test-conformance-zookeeper

.PHONY: generate manifests
manifests: generate
generate: ## write all generated files anew: deep copies, CRD, RBAC, Helm chart, protobuf (needs protoc)
	./hack/generate.sh

.PHONY: install uninstall deploy undeploy
IMG ?= conclave:$(VERSION)
KUSTOMIZE := go run sigs.k8s.io/kustomize/kustomize/v5@v5.8.2
KUBECTL ?= kubectl
install: ## the CRD into kubectl's cluster
	$(KUSTOMIZE) build config/crd | $(KUBECTL) apply --server-side -f -

uninstall: ## take the CRD out again, and with it EVERY CoordinationCluster of that cluster
	$(KUSTOMIZE) build config/crd | $(KUBECTL) delete --ignore-not-found -f -

deploy: ## CRD and operator into kubectl's cluster (IMG=registry/name:tag, which its nodes can pull or have)
	$(KUSTOMIZE) build config/default | sed 's|conclave:latest|$(IMG)|' | $(KUBECTL) apply --server-side -f -

undeploy: ## take the operator out again; the CRD and all CoordinationClusters stay, and go on serving
	$(KUSTOMIZE) build config/operator | $(KUBECTL) delete --ignore-not-found -f -

.PHONY: clean
clean: ## remove what was built and the data under ./run
	rm -rf $(BIN) run dist
