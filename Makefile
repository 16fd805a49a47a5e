# grm-cluster: `make` shows what there is. Everything works on a fresh Debian machine with Node >= 20.19.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GRM := node dist/src/cli/main.js
ARGS ?=

.PHONY: trainer-setup train-nano test-trainer help setup setup-llama build run up score status doctor test test-unit sim chaos roll kills check lint gen docs format bench bench-peers scale clean

help: ## show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: node_modules/.stamp services/llama-engine/node_modules/.stamp ## install what is missing: npm packages, the llama runtime, nats-server
	@bash deploy/install-nats-server.sh

node_modules/.stamp: package.json package-lock.json
	@node -e 'const [a,b]=process.versions.node.split(".").map(Number); if (a<20||(a===20&&b<19)) { console.error(`Node ${process.versions.node} is too old: 20.19 or newer is needed`); process.exit(1) }'
	npm ci
	@touch $@

setup-llama: services/llama-engine/node_modules/.stamp ## install the runtime of the embedded llama engine (CPU)

services/llama-engine/node_modules/.stamp: services/llama-engine/package.json services/llama-engine/package-lock.json
	npm ci --prefix services/llama-engine --omit=optional --ignore-scripts --no-fund --no-audit
	@touch $@

build: setup ## compile to dist/
	npm run --silent build

run: build ## start an embedded cluster, score examples/sample.jsonl, show the verdicts
	$(GRM) demo examples/sample.jsonl $(ARGS)

up: build ## start an embedded cluster and keep it running (ARGS="--workers 2")
	$(GRM) up $(ARGS)

score: build ## score a JSONL file on a running cluster (ARGS="rows.jsonl --out scored.jsonl --k 8")
	$(GRM) score $(ARGS)

status: build ## show nodes, actors and queues of a running cluster
	$(GRM) status $(ARGS)

doctor: build ## check NATS, streams, engines, meta RM and clocks, with a fix for each failure
	$(GRM) doctor $(ARGS)

test: build ## all tests: unit, contract, integration (real nats-server), e2e (real processes)
	npx vitest run $(ARGS)

test-unit: setup ## the quick tests alone
	npx vitest run test/unit $(ARGS)

sim: setup ## simulated clusters with seeded faults (SEED=7 replays one with its trace, SEEDS=10000 runs more)
	@GRM_SIM_SEED=$(SEED) GRM_SIM_SEEDS=$(SEEDS) npx vitest run $(if $(SEED),test/sim/odd.test.ts --reporter=dot,test/sim) --disable-console-intercept $(ARGS)

chaos: build ## a real cluster under seeded faults (MINUTES=30 SEED=n, NATS=3 for a cluster of nats-servers); its report goes to .grm/chaos
	@GRM_CHAOS_MINUTES=$(or $(MINUTES),5) GRM_CHAOS_SEED=$(SEED) GRM_CHAOS_NATS=$(NATS) npx vitest run test/chaos/run.test.ts --reporter=dot --disable-console-intercept $(ARGS)

roll: build ## restart every process of a real cluster, three nats-servers among them, one by one under load (ROUNDS=10)
	@GRM_ROLL_ROUNDS=$(or $(ROUNDS),3) npx vitest run test/e2e/rolling.test.ts --disable-console-intercept $(ARGS)

kills: build ## kill nats-server again and again under load, and look for what stays in the queues (KILLS=50)
	@GRM_NATS_KILLS=$(or $(KILLS),20) npx vitest run test/e2e/nats-restart.test.ts --disable-console-intercept $(ARGS)

check: lint test ## everything that CI checks

lint: setup ## types, linter, formatter, protos (lint, breaking)
	npx tsc -p tsconfig.json --noEmit
	npx eslint .
	npx prettier --check --log-level warn .
	npx buf lint
	npx buf breaking --against proto/baseline.binpb

gen: setup ## generate code from proto/ and docs from the tables in code
	npx buf generate
	npm run --silent gen:docs

format: setup ## fix what the linter and the formatter can fix
	npx eslint --fix . || true
	npx prettier --write --log-level warn .

bench: build ## measurements, each beside its ceiling, within ten minutes (ARGS="--only throughput"): bench/results/latest.md
	node dist/bench/main.js $(ARGS)

scale: build ## simulate clusters of 10, 100 and 1,000 workers with the real planning code (ARGS="--workers 1000 --samples 10000000")
	node dist/bench/scale/main.js $(ARGS)

bench-peers: build ## the cluster, Ray Serve, OpenJudge, verdict and a plain client on the same prompts and fake engine (2 GB of Python; ARGS="--only plain")
	-@$(MAKE) --silent --keep-going bench/peers/.venv/.stamp bench/peers/.venv-verdict/.stamp
	python3 bench/peers/run.py $(ARGS)

bench/peers/.venv/.stamp: bench/peers/requirements.txt
bench/peers/.venv-verdict/.stamp: bench/peers/requirements-verdict.txt
bench/peers/.venv/.stamp bench/peers/.venv-verdict/.stamp:
	python3 -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement $<
	@touch $@

TRAINER := services/trainer/.venv/bin/python

trainer-setup: $(TRAINER) ## Python environment of the trainer (several GB)

$(TRAINER): services/trainer/requirements.txt
	python3 -m venv services/trainer/.venv
	$(TRAINER) -m pip install --quiet --requirement services/trainer/requirements.txt
	@touch $(TRAINER)

NANO ?= nano
train-nano: trainer-setup ## train the nano judge and its meta RM, all stages (NANO=nano-cpu: a smaller pair without a GPU); goes on where it was interrupted
	PYTHONPATH=services/trainer $(TRAINER) -m grm_trainer all --config services/trainer/configs/$(NANO).yaml $(ARGS)

test-trainer: trainer-setup ## the trainer's tests, and its whole recipe on a toy configuration
	$(TRAINER) -m pytest -q services/trainer/tests $(ARGS)

clean: ## remove what was built and the embedded cluster's data
	rm -rf dist .grm node_modules services/llama-engine/node_modules
