# Everything a person does with this tree. Each target says what it needs when it is missing.

TARGET := $(shell rustc -vV | sed -n 's/^host: //p')
STATIC := RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --target $(TARGET)
MANIFEST ?=
SCENARIOS ?=
PART ?=

.PHONY: demo build test torture mutants lint bench soak image clean bench-e2e e2e-upstream e2e

## demo: a StatefulSet on a throwaway pool with a real agent; MANIFEST=deploy/examples/redis.yaml for another
demo:
	cargo build --locked
	@target/debug/berth demo $(MANIFEST)

## build: the static release binary, target/dist/berth
build:
	$(STATIC)
	@mkdir -p target/dist
	@cp target/$(TARGET)/release/berth target/dist/berth.new && mv target/dist/berth.new target/dist/berth
	@ls -l target/dist/berth; ldd target/dist/berth 2>&1 || true

## test: every test; as root nothing is left out, as an ordinary user the privileged part
test:
	@tests/run

## e2e: Berth on a two-node Kubernetes that is made and taken down here; SCENARIOS="redis power-cut" for some of them (root)
e2e: build
	@tests/e2e/run $(SCENARIOS)

## torture: what takes too long for `make test`; PART=power for the parts whose names hold it (root)
torture:
	@tests/torture $(PART)

## mutants: the code broken on purpose, and the test that notices each time; PART=power for the patches whose names hold it (root)
mutants:
	@tests/mutants/run $(PART)

## lint: formatting and lints, as errors
lint:
	cargo fmt --check
	cargo fmt --check --manifest-path tests/e2e/scenarios/Cargo.toml
	cargo clippy --locked --all-targets -- -D warnings

## bench: what calls cost beside the bare system calls they need (root)
bench: build
	cargo bench --locked --bench lifecycle -- $(BENCH)

## soak: clients, kills, restarts, a full disk, for 20 minutes or BERTH_SOAK_SECONDS; figures of what stays (root)
soak:
	cargo test --locked --test privileged_soak -- --nocapture

## e2e-upstream: Kubernetes' own tests of storage drivers, on a cluster of their own (root); FOCUS=subPath for some of them
e2e-upstream: build
	@tests/e2e/upstream/run $(FOCUS)

## bench-e2e: StatefulSets beside emptyDir, local-path-provisioner and volumes made by hand, on a cluster of their own (root); ROUNDS=5 for more
bench-e2e: build
	@tests/e2e/bench/run $(ROUNDS)

## image: the container image, with docker or buildah
image: build
	$(shell command -v docker || echo buildah) build --build-context build=target -t berth:0.1.0 .

clean:
	cargo clean
