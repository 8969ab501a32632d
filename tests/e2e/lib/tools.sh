# Kubernetes and the other Go tools: pinned in tools/<group>/go.mod, built once, kept in the cache.
# shellcheck shell=bash

# tools_dir GROUP: the folder of the group's binaries. Its name changes with everything that goes into them.
tools_dir() {
    local group=$E2E/tools/$1 key
    key=$({ find "$group" -type f | sort | xargs cat; tool_flags; go env GOVERSION GOARCH; } | sha256sum | cut -c1-16)
    echo "$CACHE/tools/$1-$key"
}

# Static, so that the same file runs in an image without libraries. The version is what /version and the nodes tell.
tool_flags() {
    local package=k8s.io/component-base/version minor=${KUBERNETES_VERSION#v1.}
    printf '%s\n' -trimpath "-ldflags=-s -w -X $package.gitVersion=$KUBERNETES_VERSION \
-X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*}"
}

# module_dir GROUP MODULE: the sources of a module that a group is built from.
module_dir() { (cd "$E2E/tools/$1" && go mod download "$2" && go list -m -f "{{.Dir}}" "$2"); }

build_tools() {
    local group=$1 dir flags
    dir=$(tools_dir "$group")
    ! cached "$dir" || return 0
    command -v go >/dev/null || die "go is needed to build the tools of $group: https://go.dev/doc/install"
    step "building the tools of $group (minutes, once)"
    mkdir -p "$dir.tmp"
    mapfile -t flags < <(tool_flags)
    (cd "$E2E/tools/$group" && CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -mod=readonly" go build -v "${flags[@]}" -o "$dir.tmp/" tool) \
        |& build_progress "$group"
    # Renamed when complete: an interrupted build is not taken for a finished one.
    mv "$dir.tmp" "$dir"
}

# Go names each package as it is compiled: one line for every 200, and whatever is no package name.
build_progress() {
    awk -v group="$1" '
        /^[a-z0-9.-]+[a-zA-Z0-9._\/-]*$/ { if (++n % 200 == 0) { print "        " group ": " n " packages"; fflush() } next }
        { print; fflush() }' >&2
}
