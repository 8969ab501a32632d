# Berth on the cluster, as docs/deploying.md tells its users.
# shellcheck shell=bash

deploy_berth() {
    local pod
    kubectl apply -k "$REPOSITORY/deploy/"
    # Without a pool the agents run and are not ready.
    wait_for 60 "the agents' pods" agents_run
    for pod in $(kubectl -n berth-system get pods -o name); do
        kubectl -n berth-system exec "$pod" -c agent -- /berth init --pool /mnt/data
    done
    kubectl -n berth-system rollout status daemonset/berth-agent --timeout="$((120 * ${BERTH_E2E_PATIENCE:-1}))s"
    wait_for 60 "the registration of csi.berth.dev on every node" registered
}

agents_run() {
    [[ $(kubectl -n berth-system get pods --field-selector=status.phase=Running -o name | wc -l) == "${#NODES[@]}" ]]
}

# Ready is what the agent says of itself; the kubelet takes a moment more to tell the scheduler.
registered() {
    local node drivers
    for node in "${NODES[@]}"; do
        drivers=$(kubectl get csinode "node-$node" -o 'jsonpath={.spec.drivers[*].name}')
        [[ $drivers == *csi.berth.dev* ]] || return 1
    done
}

# import_workload NAME: the image of deploy/examples/NAME.yaml, made if need be, on every node.
import_workload() {
    local archive
    archive=$("$E2E/build" workload "$1")
    import_archive "$archive"
}

import_archive() {
    local archive=$1 node
    for node in "${NODES[@]}"; do machine_run "node-$node" ctr images import - <"$archive" >/dev/null; done
}

# name_image NAME NEW_NAME: another name for an image, on every node.
name_image() {
    local node
    for node in "${NODES[@]}"; do
        machine_run "node-$node" ctr images tag --force "$(full_name "$1")" "$(full_name "$2")" >/dev/null
    done
}
