# containerd, runc, the CNI plugins and the rest that Debian has: unpacked into the cache, nothing is installed.
# shellcheck shell=bash

DEBIAN_PACKAGES=(
    containerd runc containernetworking-plugins etcd-server busybox-static
    buildah libgpgme11 libsubid4 golang-github-containers-common golang-github-containers-image
)

debian_dir() {
    local release key
    # shellcheck source=/dev/null
    release=$(. /etc/os-release && echo "$ID-${VERSION_ID:-unstable}")
    key=$(echo "${DEBIAN_PACKAGES[*]}" | sha256sum | cut -c1-8)
    echo "$CACHE/debian/$release-$key"
}

unpack_debian() {
    local dir=$1 packages=("${@:2}") deb
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
        die "apt-get is not there. On other systems than Debian, put these in \$PATH and set BERTH_E2E_DEBIAN to a folder" \
            "laid out like theirs: ${packages[*]}"
    mkdir -p "$dir.tmp/archives"
    (cd "$dir.tmp/archives" && apt-get download -q "${packages[@]}" >../apt.log 2>&1) ||
        die "apt-get download failed; after apt-get update it may not: $(tail -n 3 "$dir.tmp/apt.log")"
    for deb in "$dir.tmp"/archives/*.deb; do dpkg-deb -x "$deb" "$dir.tmp"; done
    rm -r "$dir.tmp/archives" "$dir.tmp/apt.log"
    mv "$dir.tmp" "$dir"
}

build_debian() {
    local dir
    dir=$(debian_dir)
    ! cached "$dir" || return 0
    step "fetching Debian packages: ${DEBIAN_PACKAGES[*]}"
    rm -rf "$dir.tmp"
    unpack_debian "$dir" "${DEBIAN_PACKAGES[@]}"
}
