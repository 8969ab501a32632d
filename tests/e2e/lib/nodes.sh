# Nodes: a kubelet and a containerd on a machine with a disk of its own at /mnt/data.
# shellcheck shell=bash

node_exists() { [[ " ${NODES[*]} " == *" $1 "* ]] || die "there are nodes ${NODES[*]}, and no $1"; }

# With the cluster's name in it, which is all that `losetup` tells of a file in another mount namespace.
disk_image() { echo "$RUN/node-$1/$CLUSTER-node-$1.img"; }

disk_make() {
    mkdir -p "$RUN/node-$1"
    truncate -s "${DISK_SIZE[$1]}" "$(disk_image "$1")"
    mkfs.xfs -q -L berth "$(disk_image "$1")"
}

# disk_swap N: another disk, new and empty, in place of the node's own, which disk_restore N puts back.
disk_swap() {
    disk_idle "$1"
    mv "$(disk_image "$1")" "$(disk_image "$1").out"
    disk_make "$1"
}

disk_restore() {
    disk_idle "$1"
    [[ -e $(disk_image "$1").out ]] || die "the disk of node-$1 was not swapped"
    mv "$(disk_image "$1").out" "$(disk_image "$1")"
}

disk_idle() { ! running "node-$1" || die "node-$1 is running: cluster node-kill $1"; }

# node_boot N: as after power comes back. What is on its disks is there, the rest is new.
node_boot() {
    local node=$1
    mkdir -p "$RUN/node-$node"/{kubelet,containerd,pod-logs}
    machine_start "node-$node" env "PATH=$(node_path)" bash "$E2E/guest/node" "$node" "$(debian_dir)"
    wait_for 10 "the network of node-$node" node_plug_in "$node"
}

# node_plug_in N: a cable from the bridge to the node. The far end of an old one goes a moment after its node.
node_plug_in() {
    local control_plane node_pid
    control_plane=$(pid_of control-plane)
    node_pid=$(pid_of "node-$1")
    nsenter --target "$control_plane" --net ip link add "node-$1" type veth peer name eth0 netns "$node_pid"
    nsenter --target "$control_plane" --net ip link set "node-$1" master cluster up
}

node_unplug() { in_cluster_network ip link set "node-$1" down; }
node_plug() { in_cluster_network ip link set "node-$1" up; }

# node_cut N: as when power goes. Every process stops where it is, what the disk at /mnt/data was not told to keep is lost,
# and nothing is unmounted, stopped or told.
node_cut() {
    running "node-$1" || die "node-$1 is not running"
    cgroup_freeze "node-$1" yes
    # XFS' own emergency stop: nothing more goes to the disk, not even the log in memory.
    machine_run "node-$1" xfs_io -x -c shutdown /mnt/data || say "node-$1 had no disk at /mnt/data"
    machine_kill "node-$1"
    wait_for 10 "the end of the loop device of node-$1" disk_detached "$1"
    cgroup_remove "node-$1"
}

# The kernel frees a loop device by itself (autoclear) when its last mount goes.
disk_detached() { [[ -z $(losetup --associated "$(disk_image "$1")") ]]; }

# Ready, and not only still said to be from before it was cut.
node_ready() {
    local boot
    boot=$(machine_run "node-$1" cat /proc/sys/kernel/random/boot_id)
    [[ $(kubectl get node "node-$1" -o 'jsonpath={.status.nodeInfo.bootID} {.status.conditions[?(@.type=="Ready")].status}') == "$boot True" ]]
}

node_wait() {
    wait_for 90 "node-$1 Ready" node_ready "$1"
    wait_for 120 "images on node-$1" machine_run "node-$1" test -e /run/images-imported
}

# kubelet_restart N: the node's first process starts it again, as systemd would.
kubelet_restart() {
    local old
    old=$(machine_run "node-$1" cat /run/kubelet.pid)
    machine_run "node-$1" kill "$old"
    wait_for 30 "a new kubelet on node-$1" kubelet_is_new "$1" "$old"
}

kubelet_is_new() {
    local new
    new=$(machine_run "node-$1" cat /run/kubelet.pid)
    [[ $new != "$2" ]] && machine_run "node-$1" curl -sf http://127.0.0.1:10248/healthz
}
