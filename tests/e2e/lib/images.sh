# Container images, made without a registry and imported into every node under the names that manifests use.
#
# Debian's buildah makes them all. It reads the project's Dockerfile as it is: `--build-context build=…` stands in for the
# build stage, so its base image is never asked for, and what comes out is the final stage that users get.
# shellcheck shell=bash

# image_archives: what nodes import, one path a line.
image_archives() { find "$(images_dir)" "$STATE/images" -maxdepth 1 -name '*.tar' 2>/dev/null | sort; }

# The images that do not depend on Berth's sources.
images_dir() {
    local key
    key=$({ tools_dir kubernetes; debian_dir; cat "$E2E"/images/*.Containerfile "$E2E/lib/images.sh"; } | sha256sum | cut -c1-16)
    echo "$CACHE/images/$key"
}

build_images() {
    local dir
    dir=$(images_dir)
    ! cached "$dir" || return 0
    step "making images"
    rm -rf "$dir.tmp"
    mkdir -p "$dir.tmp"
    image_from "$dir.tmp/provisioner.tar" "$PROVISIONER_IMAGE" provisioner \
        "$(tools_dir kubernetes)/csi-provisioner"
    busybox_root "$dir.tmp/root" "$(debian_dir)/bin/busybox"
    image_from "$dir.tmp/busybox.tar" "$BUSYBOX_IMAGE" busybox "$dir.tmp/root"
    # The real one, from the sources of the pinned Kubernetes.
    static_c "$dir.tmp/pause" "$(module_dir kubernetes k8s.io/kubernetes)/build/pause/linux/pause.c"
    image_from "$dir.tmp/pause.tar" "$PAUSE_IMAGE" pause "$dir.tmp/pause"
    rm -r "$dir.tmp"/{root,pause}
    mv "$dir.tmp" "$dir"
}

# The helper image of Kubernetes' own tests.
agnhost_archive() { echo "$(images_dir)/agnhost/agnhost-$(basename "$(tools_dir upstream)").tar"; }

build_agnhost() {
    local context archive
    archive=$(agnhost_archive)
    ! cached "$archive" || return 0
    context=$(mktemp -d)
    busybox_root "$context/root" "$(debian_dir)/bin/busybox"
    mkdir -p "$(dirname "$archive")"
    image_from "$archive" "$AGNHOST_IMAGE" agnhost "$context/root" "$(tools_dir upstream)/agnhost"
    rm -r "$context"
}

local_path_archive() { echo "$(images_dir)/local-path/$(basename "$(tools_dir local-path)").tar"; }

build_local_path() {
    local archive
    archive=$(local_path_archive)
    ! cached "$archive" || return 0
    mkdir -p "$(dirname "$archive")"
    image_from "$archive" "$LOCAL_PATH_IMAGE" local-path "$(tools_dir local-path)/local-path-provisioner"
}

busybox_root() {
    local root=$1 busybox=$2 applet
    mkdir -p "$root"/{bin,etc,root} && mkdir -m 1777 "$root/tmp"
    cp "$busybox" "$root/bin/busybox"
    for applet in $("$busybox" --list); do [[ $applet == busybox ]] || ln -s busybox "$root/bin/$applet"; done
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
}

static_c() {
    command -v cc >/dev/null || die "a C compiler is needed for the pause image (and for Rust)"
    cc -Os -static -s -DVERSION=berth-e2e -o "$1" "$2"
}

# Berth's own image, from the static binary of `make build`. Made every time: it takes a second.
build_berth_image() {
    local binary=${BERTH_BINARY:-$REPOSITORY/target/dist/berth} context
    [[ -x $binary ]] || die "$binary is not there: run \`make build\` first, or name the binary in BERTH_BINARY"
    context=$(mktemp -d)
    install -D -m 0555 "$binary" "$context/dist/berth"
    mkdir -p "$STATE/images"
    buildah_image "$STATE/images/berth.tar" "$BERTH_IMAGE" --build-context "build=$context" -f "$REPOSITORY/Dockerfile" "$REPOSITORY"
    rm -r "$context"
}

# image_from ARCHIVE NAME CONTAINERFILE FILE...: images/CONTAINERFILE.Containerfile with nothing but FILEs as its context.
image_from() {
    local archive=$1 name=$2 containerfile=$E2E/images/$3.Containerfile context
    context=$(mktemp -d)
    cp -a "${@:4}" "$context"
    buildah_image "$archive" "$name" -f "$containerfile" "$context"
    rm -r "$context"
}

# buildah_image ARCHIVE NAME ARGUMENTS...: `buildah build`, into an archive that `ctr images import` takes. Its store is
# thrown away: the archive is what is kept.
buildah_image() {
    local archive=$1 name=$2 store
    store=$(mktemp -d)
    echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$store/policy.json"
    buildah_in "$store" build -q --pull-never --isolation chroot --timestamp 0 --iidfile "$store/id" "${@:3}" >/dev/null
    rm -f "$archive"
    buildah_in "$store" push -q "$(<"$store/id")" "docker-archive:$archive:$(full_name "$name")"
    rm -rf "$store"
}

buildah_in() {
    local store=$1 command=$2 debian
    debian=$(debian_dir)
    LD_LIBRARY_PATH=$(echo "$debian"/usr/lib/*-linux-gnu) "$debian/usr/bin/buildah" \
        --storage-driver vfs --root "$store/root" --runroot "$store/run" \
        "$command" --signature-policy "$store/policy.json" "${@:3}"
}

# full_name NAME: as the kubelet asks for it.
full_name() {
    case $1 in
    *.*/*) echo "$1" ;;
    */*) echo "docker.io/$1" ;;
    *) echo "docker.io/library/$1" ;;
    esac
}
