# Names, addresses and folders of the cluster. Everything else takes them from here.
# shellcheck shell=bash disable=SC2034

E2E=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
REPOSITORY=$(cd "$E2E/../.." && pwd)

# Prefix of cgroups. Two clusters with different names can run side by side.
CLUSTER=${BERTH_E2E_NAME:-berth-e2e}
# What is slow to make and the same for every run: tools, packages, images.
CACHE=${BERTH_E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/berth-e2e}
# What belongs to one cluster. `down` removes all of it but the logs.
STATE=${BERTH_E2E_STATE:-$REPOSITORY/target/e2e}
RUN=$STATE/run
LOGS=$STATE/logs
FAILED=$STATE/failed

NODES=(1 2)
# Sparse. Different, so that a claim can be too large for one node and fit on the other.
declare -A DISK_SIZE=([1]=64G [2]=96G)

API_IP=10.89.0.1       # the control plane on the bridge that joins the machines
SERVICE_IP=10.96.0.1   # the API server's service address, which the control plane holds itself: there is no kube-proxy
DNS_IP=10.96.0.10
SERVICE_RANGE=10.96.0.0/24
node_ip() { echo "10.89.0.1$1"; }
pod_range() { echo "10.88.$1.0/24"; }

KUBERNETES_VERSION=v1.36.3
BERTH_IMAGE=berth:0.1.0
PROVISIONER_IMAGE=registry.k8s.io/sig-storage/csi-provisioner:v6.3.0
PAUSE_IMAGE=registry.k8s.io/pause:3.10
BUSYBOX_IMAGE=busybox:1.35
LOCAL_PATH_IMAGE=rancher/local-path-provisioner:v0.0.30
AGNHOST_IMAGE=registry.k8s.io/e2e-test-images/agnhost:2.63.0
KUBECONFIG_ADMIN=$RUN/pki/admin.kubeconfig

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# step TEXT: says what is done, with the seconds since the script started.
step() { printf '[%3d s] %s\n' "$SECONDS" "$*" >&2; }

# scratch FOLDER: where mktemp makes its files from now on; what an earlier run was not given time to remove goes.
scratch() {
    rm -rf "$1"
    mkdir -p "$1"
    export TMPDIR=$1
}

# cached PATH: whether it is there. It is touched, so that the cache's old things are known from those in use.
cached() { [[ -e $1 ]] && touch "$1"; }

# wait_for SECONDS WHAT COMMAND...: until the command succeeds. A slow machine is given BERTH_E2E_PATIENCE times as long.
wait_for() {
    local patience=${BERTH_E2E_PATIENCE:-1} limit what=$2 deadline
    limit=$(($1 * patience)) deadline=$((SECONDS + $1 * patience))
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || die "$what: not within $limit s"
        sleep "$((patience / 10)).$((patience % 10))"
    done
}
