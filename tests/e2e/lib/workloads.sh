# The servers of deploy/examples, made of Debian packages and Maven Central's jars, and named as the examples name them.
# A folder of images/workloads/ for each: `packages`, `entrypoint`; and if need be `pom.xml`, `tool` (a group of tools/), `remove`
# (what to leave out), `root` (files to add) and `Containerfile`.
# shellcheck shell=bash

WORKLOADS=$E2E/images/workloads

workload_names() { find "$WORKLOADS" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort; }

# workload_image NAME: what the example asks for.
workload_image() { sed -n 's/^ *image: //p' "$REPOSITORY/deploy/examples/$1.yaml"; }

workload_archive() {
    local key
    key=$({ find "$WORKLOADS/$1" "$WORKLOADS"/{passwd,group,Containerfile} -type f -exec sha256sum {} +
        cat "$E2E/lib/workloads.sh"; workload_image "$1"; debian_dir
        [[ ! -f $WORKLOADS/$1/tool ]] || tools_dir "$(<"$WORKLOADS/$1/tool")"; } | sort | sha256sum | cut -c1-16)
    echo "$CACHE/workloads/$1-$key.tar"
}

build_workload() {
    local name=$1 archive context packages containerfile
    [[ -d $WORKLOADS/$name ]] || die "there is no workload $name, but: $(workload_names | xargs)"
    archive=$(workload_archive "$name")
    ! cached "$archive" || return 0
    step "making the image $(workload_image "$name")"
    mkdir -p "$CACHE/workloads"
    context=$(mktemp -d)
    mapfile -t packages <"$WORKLOADS/$name/packages"
    debian_root "$context/root" "${packages[@]}"
    if [[ -f $WORKLOADS/$name/pom.xml ]]; then java_libraries "$name" "$context/root/libraries"; fi
    if [[ -f $WORKLOADS/$name/tool ]]; then workload_tool "$(<"$WORKLOADS/$name/tool")" "$context/root/usr/bin"; fi
    # What is large and not used.
    if [[ -f $WORKLOADS/$name/remove ]]; then
        # shellcheck disable=SC2046
        (cd "$context/root" && rm -rf $(<"$WORKLOADS/$name/remove"))
    fi
    install -m 0644 "$WORKLOADS"/{passwd,group} "$context/root/etc/"
    install -m 0755 "$WORKLOADS/$name/entrypoint" "$context/root/entrypoint"
    [[ ! -d $WORKLOADS/$name/root ]] || cp -r "$WORKLOADS/$name/root/." "$context/root/"
    containerfile=$WORKLOADS/$name/Containerfile
    [[ -f $containerfile ]] || containerfile=$WORKLOADS/Containerfile
    buildah_image "$archive.tmp" "$(workload_image "$name")" -f "$containerfile" "$context"
    rm -rf "$context"
    # Another version of it is not kept: they are large, and made in half a minute.
    rm -f "$CACHE/workloads/$name"-*.tar
    mv "$archive.tmp" "$archive"
}

# workload_tool GROUP FOLDER: the binaries of tools/GROUP.
workload_tool() {
    build_tools "$1"
    mkdir -p "$2"
    cp "$(tools_dir "$1")"/* "$2"
}

# java_libraries NAME FOLDER: what its pom.xml names, from Maven Central.
java_libraries() {
    command -v mvn >/dev/null || die "Maven is needed for the image of $1"
    mvn -q -B -f "$WORKLOADS/$1/pom.xml" dependency:copy-dependencies -DoutputDirectory="$2" \
        -DincludeScope=runtime >"$TMPDIR/maven.log" 2>&1 || die "Maven: $(grep -m 3 ERROR "$TMPDIR/maven.log")"
}

# debian_root FOLDER PACKAGE...: the packages and all that they depend on, unpacked; what Debian takes for granted is
# busybox. No package's own scripts are run.
debian_root() {
    local root=$1 archives=$TMPDIR/archives package applet busybox
    busybox=$(debian_dir)/bin/busybox
    mkdir -p "$archives/partial" "$root"/{bin,etc,root,run,var/lib,var/log}
    mkdir -m 1777 "$root/tmp" "$root/var/tmp"
    # Resolved as if nothing were installed, not even libc. The locks are those of the machine's own packages.
    : >"$archives/installed"
    apt-get install -q -y --no-install-recommends --download-only -o Debug::NoLocking=1 -o Dir::Cache::archives="$archives" \
        -o Dir::State::status="$archives/installed" gosu "${@:2}" >"$archives/log" 2>&1 ||
        die "apt-get could not fetch ${*:2}; after apt-get update it may: $(tail -n 3 "$archives/log")"
    for package in "$archives"/*.deb; do dpkg-deb -x "$package" "$root"; done
    rm -rf "$archives" "$root"/usr/share/{doc,man,locale,info,perl,perl5} "$root"/usr/lib/*/{perl,perl5,perl-base}
    install "$busybox" "$root/bin/busybox"
    for applet in $("$busybox" --list); do
        [[ -e $root/bin/$applet || -e $root/usr/bin/$applet || -e $root/sbin/$applet || -e $root/usr/sbin/$applet ]] ||
            ln -s busybox "$root/bin/$applet"
    done
}
