# What a cluster could leave behind: processes, cgroups, mounts, loop devices.
# shellcheck shell=bash

leftovers() {
    local process tree dir
    for process in $(cgroup_processes); do
        echo "process $process $(tr '\0' ' ' <"/proc/$process/cmdline" 2>/dev/null)"
    done
    for tree in $(cgroup_trees); do
        [[ ! -d $tree/$CLUSTER ]] || find "$tree/$CLUSTER" -type d -printf 'cgroup %p\n'
    done
    losetup --list --noheadings --output NAME,BACK-FILE | grep -F "/$CLUSTER-node-" | sed 's/^/loop device /' || true
    # In every mount namespace that some process is in: mounts on or from the cluster's files.
    for dir in /proc/[0-9]*; do
        grep -sF "$RUN/" "$dir/mountinfo" | sed "s|^|mount seen by process ${dir#/proc/}: |" || true
    done
    [[ ! -d $RUN ]] || echo "folder $RUN"
}

check() {
    local found
    found=$(leftovers)
    [[ -z $found ]] || { say "left over:"; say "$found"; return 1; }
    say "nothing is left: no process, cgroup, mount, loop device"
}
