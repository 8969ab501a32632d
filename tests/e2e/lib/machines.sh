# Machines: process trees with namespaces of their own. The control plane is the outer one. The nodes are started inside its
# PID and mount namespaces, so killing its first process ends everything, and the kernel takes every mount, loop device and
# network interface back. No namespace has a name in the file system that could be left over.
# shellcheck shell=bash

# A proxy for the world outside is of no use in here.
NO_PROXY_VARIABLES=(-u http_proxy -u https_proxy -u HTTP_PROXY -u HTTPS_PROXY)

# machine_pid MACHINE: the process ID of its first process, if it runs. The namespace is compared because IDs are used again.
machine_pid() {
    local pid namespace
    [[ -f $RUN/$1.pid ]] && read -r pid namespace <"$RUN/$1.pid" && [[ -n $namespace ]] &&
        [[ $(readlink "/proc/$pid/ns/pid" 2>/dev/null) == "$namespace" ]] && echo "$pid"
}

running() { machine_pid "$1" >/dev/null; }
pid_of() { machine_pid "$1" || die "$1 is not running"; }

# machine_start MACHINE COMMAND...: runs COMMAND as its first process.
machine_start() {
    local machine=$1 inside=() outer control_plane
    shift
    ! running "$machine" || die "$machine is running already"
    if [[ $machine != control-plane ]]; then
        control_plane=$(pid_of control-plane)
        inside=(nsenter --target "$control_plane" --pid --mount)
    fi
    cgroup_make "$machine"
    cgroup_make outside
    # Elsewhere it has CPUs of its own. Without them the API server lags behind the kubelets, refuses them what it has not
    # heard of yet (a claim of a pod that is new on the node), and they ask again after ten seconds.
    [[ $machine != control-plane ]] || cgroup_favour "$machine" 8
    (
        cgroup_enter outside
        exec env "${NO_PROXY_VARIABLES[@]}" setsid "${inside[@]}" unshare --net --mount --pid --uts --ipc \
            --fork --kill-child --mount-proc --propagation private bash "$E2E/guest/enter" "$machine" "$@"
    ) >"$LOGS/$machine.log" 2>&1 </dev/null 9>&- &
    outer=$!
    # So that its end is not announced by this shell.
    disown "$outer"
    wait_for 10 "starting $machine" first_process "$machine" "$outer"
}

# first_process MACHINE OUTER: records the descendant of OUTER that is process 1 of a new PID namespace. OUTER has other
# children for a moment, before it becomes `unshare`.
first_process() {
    local pid=$2 depth=1 namespace
    [[ $1 == control-plane ]] || depth=2
    while ((depth-- > 0)); do
        pid=$(pgrep --parent "$pid" | head -n 1)
        [[ -n $pid ]] || return 1
    done
    namespace=$(readlink "/proc/$pid/ns/pid") || return 1
    [[ $namespace != $(readlink "/proc/$2/ns/pid") && $(awk '/^NSpid:/ { print $NF }' "/proc/$pid/status") == 1 ]] || return 1
    echo "$pid $namespace" >"$RUN/$1.pid"
}

# machine_kill MACHINE: its first process, and with it all others.
machine_kill() {
    local pid
    pid=$(machine_pid "$1") || { rm -f "$RUN/$1.pid"; return 0; }
    kill -KILL "$pid" || true
    # A frozen process on cgroup v1 dies when it is thawed, before it runs any more of its own code.
    cgroup_freeze "$1" no
    wait_for 30 "the end of $1" process_gone "$pid"
    rm -f "$RUN/$1.pid"
}

process_gone() { [[ ! -d /proc/$1 ]]; }

# machine_run MACHINE COMMAND...: inside, as a process of the machine.
machine_run() {
    local pid
    pid=$(pid_of "$1")
    nsenter --target "$pid" --net --mount --pid --uts --ipc --cgroup --wd=/ \
        env "PATH=$(node_path)" "CONTAINERD_ADDRESS=/run/containerd/containerd.sock" "CONTAINERD_NAMESPACE=k8s.io" "${@:2}"
}

# in_cluster_network COMMAND...: an ordinary process that sees the cluster's network and nothing else of it.
in_cluster_network() {
    local pid
    pid=$(pid_of control-plane)
    nsenter --target "$pid" --net \
        env "${NO_PROXY_VARIABLES[@]}" "PATH=$(tools_dir kubernetes):$PATH" "KUBECONFIG=$KUBECONFIG_ADMIN" "${@}"
}

api_ready() { [[ $(kubectl get --raw /readyz) == ok ]]; }
kubectl() { in_cluster_network "$(tools_dir kubernetes)/kubectl" "$@"; }

node_path() {
    local debian
    debian=$(debian_dir)
    echo "$(tools_dir kubernetes):$(tools_dir dns):$debian/usr/bin:$debian/usr/sbin:$debian/bin:$PATH"
}
