# Everything a person does with this tree. Each target says what it needs when it is missing.

TARGET := $(shell rustc -vV | sed -n 's/^host: //p')
STATIC := RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --target $(TARGET)
MANIFEST ?=

.PHONY: demo build test torture lint bench image clean

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

## torture: what takes longer than a test should (root)
torture:
	@tests/torture

## lint: formatting and lints, as errors
lint:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

## bench: what calls cost beside the bare system calls they need (root)
bench: build
	cargo bench --locked --bench lifecycle -- $(BENCH)

## image: the container image, with docker or buildah
image: build
	$(shell command -v docker || echo buildah) build --build-context build=target -t berth:0.1.0 .

clean:
	cargo clean
