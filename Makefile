# The version is looked up only when a target needs it.
VERSION = $(shell git describe --always --dirty 2>/dev/null || echo dev)
FUZZ_SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help run build test race lint fuzz e2e bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## run from source; ARGS="all --check" passes arguments
	go run . $(ARGS)

build: ## build bin/halley, static
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/halley .

test: lint ## everything: lint, all tests with a real Redis and Kafka, a short fuzz
	deploy/dev/with-servers.sh go test -race -count=1 -timeout 20m ./...
	go test -count=1 -run 'TestDensity|TestHeapPerConnection|TestMemoryPerClient' -v ./gateway ./pkg/tlsloop ./bench
	deploy/dev/fuzz.sh 10

race: ## all tests, with a real Redis and Kafka, under the race detector
	deploy/dev/with-servers.sh go test -race ./...

lint: ## gofmt, go vet, golangci-lint (built once, from tools/go.mod)
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	go vet ./...
	go tool -modfile=tools/go.mod golangci-lint run ./...

fuzz: ## fuzz each target for FUZZ_SECONDS (60)
	deploy/dev/fuzz.sh $(FUZZ_SECONDS)

e2e: ## the end-to-end scenarios, with a real Redis and Kafka
	deploy/dev/with-servers.sh go test -race -count=1 -run TestE2E .

bench: ## all Go benchmarks
	go test -run '^$$' -bench . -benchmem ./...

clean: ## remove what build and test leave
	rm -rf bin coverage.* cover.out *.test *.prof
