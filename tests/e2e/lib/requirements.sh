# What the machine has to have, said all at once and before anything is started.
# shellcheck shell=bash

requirements() {
    local missing=() command type
    ((EUID == 0)) || missing+=("root: namespaces, mounts and cgroups are made")
    for command in unshare nsenter losetup mkfs.xfs xfs_io ip openssl curl pgrep cc go; do
        command -v "$command" >/dev/null || missing+=("the command $command")
    done
    for type in xfs overlay; do
        grep -qw "$type" /proc/filesystems || modprobe -q "$type" || missing+=("the file system $type in the kernel")
    done
    [[ -e /dev/loop-control ]] || modprobe -q loop || missing+=("loop devices")
    mkdir -p "$STATE"
    case $(stat -fc %T "$STATE") in
    overlayfs | tmpfs | nfs) missing+=("BERTH_E2E_STATE on an ordinary file system: $STATE is on $(stat -fc %T "$STATE")") ;;
    esac
    ((${#missing[@]} == 0)) || die "this machine lacks:$(printf '\n  - %s' "${missing[@]}")"
}
