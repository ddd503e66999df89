# Ten verbs at most. The default formats, lints and tests.
.DEFAULT_GOAL := all
GO ?= go

all: fmt lint test

build: ## bin/livegate
	$(GO) build -trimpath -ldflags "-s -w" -o bin/livegate ./cmd/livegate

fmt: ## rewrite in gofmt's form
	gofmt -w $$(git ls-files '*.go')

lint: ## gofmt, go vet, staticcheck and golangci-lint, as CI runs them
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not gofmt'ed:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) -C tools tool -n golangci-lint >/dev/null && $$($(GO) -C tools tool -n golangci-lint) run ./...

test: ## everything, real clients included; the compatibility table must still hold
	$(GO) run ./conformance/parity ./...

parity: ## the same, and record in the compatibility table what passed
	$(GO) run ./conformance/parity -write ./...

race: ## the packages where goroutines meet
	$(GO) test -race ./internal/...

e2e: ## only the tests that drive the binary with real clients
	$(GO) test ./e2e/...

compat: ## other people's public apps: make compat APPS=dir [ARTICLE=file]
	cd compat && npm install --no-audit --no-fund --silent && node run.mjs --livegate "$(CURDIR)/bin/livegate" --apps "$(APPS)" $(if $(ARTICLE),--article "$(ARTICLE)")

bench: build ## side by side with peers; see bench/README.md
	bench/run.sh

.PHONY: all build fmt lint test parity race e2e compat bench
