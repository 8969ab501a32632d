# A cgroup for each machine of the cluster, beneath one for the cluster, on cgroup v1 and v2.
# shellcheck shell=bash

cgroup_version() { [[ $(stat -fc %T /sys/fs/cgroup) == cgroup2fs ]] && echo 2 || echo 1; }

# The folders that hold a tree of cgroups: one on v2, one for each set of controllers on v1.
cgroup_trees() {
    if [[ $(cgroup_version) == 2 ]]; then
        echo /sys/fs/cgroup
    else
        # "4:memory:/" and "9:name=systemd:/"; "0::/" is v2 beside v1, without controllers.
        awk -F: '$2 != "" { sub("name=", "", $2); print "/sys/fs/cgroup/" $2 }' /proc/self/cgroup
    fi
}

# cgroup_make MACHINE
cgroup_make() {
    local tree dir
    for tree in $(cgroup_trees); do
        for dir in "$tree/$CLUSTER" "$tree/$CLUSTER/$1"; do
            [[ -d $dir ]] || mkdir "$dir"
            # v1: no process may enter a cpuset that has no CPUs, and a new one has none.
            if [[ -f $dir/cpuset.cpus && ! -f $dir/cgroup.controllers ]]; then
                cat "$dir/../cpuset.cpus" >"$dir/cpuset.cpus"
                cat "$dir/../cpuset.mems" >"$dir/cpuset.mems"
            fi
        done
        # v2: a cgroup has the controllers that its parent hands down.
        if [[ -f $tree/cgroup.controllers ]]; then
            hand_down_controllers "$tree"
            hand_down_controllers "$tree/$CLUSTER"
        fi
    done
}

# What Kubernetes wants, one at a time: a controller that cannot be handed down (cpu, while realtime processes run) does not hold
# up the rest.
hand_down_controllers() {
    local controller
    for controller in cpu cpuset io memory pids; do
        echo "+$controller" >"$1/cgroup.subtree_control" || true
    done 2>/dev/null
    grep -qw memory "$1/cgroup.subtree_control" ||
        die "the cgroup $1 hands down no controllers. It has to be a real root, or without processes (it has $(wc -l <"$1/cgroup.procs"))"
}

# cgroup_favour MACHINE TIMES: when CPU time is short, it gets this many times what another machine gets.
cgroup_favour() {
    local tree dir
    for tree in $(cgroup_trees); do
        dir=$tree/$CLUSTER/$1
        if [[ -f $dir/cpu.shares ]]; then echo $((1024 * $2)) >"$dir/cpu.shares"; fi
        if [[ -f $dir/cpu.weight ]]; then echo $((100 * $2)) >"$dir/cpu.weight"; fi
    done
}

# cgroup_enter MACHINE: moves the calling process.
cgroup_enter() {
    local tree
    for tree in $(cgroup_trees); do echo "$BASHPID" >"$tree/$CLUSTER/$1/cgroup.procs"; done
}

# cgroup_freeze MACHINE yes|no: stops every process of the machine where it is, or lets them go on.
cgroup_freeze() {
    local tree dir
    for tree in $(cgroup_trees); do
        dir=$tree/$CLUSTER/$1
        if [[ -f $dir/cgroup.freeze ]]; then
            [[ $2 == yes ]] && echo 1 >"$dir/cgroup.freeze" || echo 0 >"$dir/cgroup.freeze"
            [[ $2 == no ]] || wait_for 10 "freezing $1" grep -qx 'frozen 1' "$dir/cgroup.events"
        elif [[ -f $dir/freezer.state && $2 == yes ]]; then
            echo FROZEN >"$dir/freezer.state"
            wait_for 10 "freezing $1" grep -q FROZEN "$dir/freezer.state"
        elif [[ -f $dir/freezer.state ]]; then
            echo THAWED >"$dir/freezer.state"
        fi
    done
}

cgroup_processes() {
    local tree
    for tree in $(cgroup_trees); do
        [[ ! -d $tree/$CLUSTER ]] || find "$tree/$CLUSTER" -name cgroup.procs -exec cat {} +
    done | sort -un
}

# cgroup_kill: every process of the cluster, also if nothing is known about it any more.
cgroup_kill() {
    local process
    for process in $(cgroup_processes); do kill -KILL "$process" 2>/dev/null || true; done
    [[ -z $(cgroup_processes) ]]
}

# cgroup_remove [MACHINE]: with everything beneath it. Processes that were killed a moment ago may still be leaving.
cgroup_remove() {
    local tree
    for tree in $(cgroup_trees); do
        wait_for 10 "removing the cgroup $tree/$CLUSTER${1:+/$1}" cgroup_remove_tree "$tree/$CLUSTER${1:+/$1}"
    done
}

cgroup_remove_tree() {
    [[ ! -d $1 ]] || find "$1" -depth -type d -exec rmdir {} \;
    [[ ! -d $1 ]]
}
