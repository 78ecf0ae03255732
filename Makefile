# podlet's tasks. `make` alone lists them.

VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION)
GO_DIRS  := $(wildcard cmd cri pod pause cgroup internal hack)
FUZZTIME ?= 60
TIMEOUT  ?= 12m
VM_TIME  ?= 26m

# Only -race needs cgo (and gcc): what is shipped is static.
export CGO_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help build pause test tests test-vm test-kubelet demo bench lint fuzz deps clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: pause ## bin/podlet, one static binary with pause inside
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/podlet ./cmd/podlet

pause: ## the C process only, into pause/made-by-make
	@hack/deps.sh build
	@$(MAKE) --no-print-directory -s -C pause/src

test: build build/floor ## every test, as root: C under sanitizers, vet, gofmt, go test -race; fails if it leaves anything on the machine
	@hack/deps.sh test
	go build -o build/leftovers ./hack/leftovers
	build/leftovers $(MAKE) --no-print-directory tests

# A program under -race sleeps for a second before it ends if it isn't told otherwise, and the tests run podlet some hundred times.
tests:
	$(MAKE) -C pause/src test
	@$(MAKE) --no-print-directory vet
	CGO_ENABLED=1 GORACE=atexit_sleep_ms=50 go test -race -timeout $(TIMEOUT) ./...

test-vm: build ## the same tests on Debian's cloud kernel with pure cgroup v2, in an emulator
	@hack/deps.sh vm test
	go run ./hack/vm test -short -timeout 20m -deadline $(VM_TIME) $(VM_PACKAGES)

test-kubelet: build ## a real kubelet v1.37 runs pods on podlet (builds it once, some minutes)
	@hack/deps.sh kubelet
	go run ./hack/kubelet $(KUBELET)

demo: build ## a pod of two containers, shown from its start to the proof that nothing is left
	@hack/deps.sh demo
	go run ./hack/demo

build/floor: $(wildcard hack/floor/*.[ch]) | pause
	@mkdir -p build
	gcc -std=gnu17 -O2 -Wall -Wextra -Werror -Wshadow -static -o $@ $(filter %.c,$^)

bench: build build/floor ## times against the kernel's own floor (BENCH='-json -run REGEXP -n N')
	@hack/deps.sh bench
	go run ./hack/bench $(BENCH)

.PHONY: vet
vet:
	@unformatted=$$(gofmt -l $(GO_DIRS)); [ -z "$$unformatted" ] || { echo "not gofmt-clean (gofmt -w mends it):"; echo "$$unformatted"; exit 1; }
	go vet ./...

lint: pause vet ## gofmt, vet, staticcheck; for arm64 the build of everything, and pause's unit tests in an emulator
	@hack/deps.sh lint
	go tool -modfile=hack/lint/go.mod staticcheck ./...
	$(MAKE) -C pause/src arm64 test-arm64
	GOARCH=arm64 go vet ./...
	GOARCH=arm64 go build -o build/arm64/ ./...

fuzz: pause ## every fuzzer, C and Go, FUZZTIME seconds each (60)
	@hack/deps.sh fuzz
	$(MAKE) -C pause/src fuzz SECONDS=$(FUZZTIME)
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME)s -fuzzminimizetime 20x $$package || exit 1; \
		done; \
	done

deps: ## install what any of these targets may need (Debian)
	hack/deps.sh build test demo bench lint fuzz vm kubelet

clean: ## remove what make made
	$(MAKE) -C pause/src clean
	rm -rf bin build
