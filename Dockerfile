# The image holds one file, the static binary.
#
#   docker build -t berth:0.1.0 .
#
# With a binary that is already there (`make build` leaves it at target/dist/berth), the folder `target` stands in for the
# build stage, because a named context goes before a stage of that name:
#
#   docker build -t berth:0.1.0 --build-context build=target .
#
# Whatever else builds images needs only the last stage: /berth, mode 0555, as the entry point, user 0:0.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# --target keeps the flag away from build scripts and procedural macros, which cannot be linked statically.
# The two caches outlive a change of the sources, so only what changed is compiled again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    set -eu; \
    host="$(rustc -vV | sed -n 's/^host: //p')"; \
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --bin berth --target "$host"; \
    install -D -m 0555 "target/$host/release/berth" /dist/berth

FROM scratch
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="berth" \
      org.opencontainers.image.description="CSI driver for directories on the node's own disk, for StatefulSets" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.url="https://berth.dev" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build --chmod=0555 /dist/berth /berth
# Mounting and the kubelet's sockets take root. Numbers, because the image has no /etc/passwd.
USER 0:0
ENTRYPOINT ["/berth"]
