# Logs, and what is kept of a cluster on which something failed.
# shellcheck shell=bash

# logs [NAME]: which there are, or one of them.
logs() {
    if (($#)); then cat "$LOGS/$1.log"; else find "$LOGS" -name '*.log' -size +0 -printf '%f\n' | sed 's/\.log$//' | sort; fi
}

# keep_logs NAME: everything that tells what happened, into a folder of that name. It never fails.
keep_logs() {
    local to=$FAILED/$1
    rm -rf "$to"
    mkdir -p "$to"
    cp -r "$LOGS" "$to/logs" || true
    if api_ready 2>/dev/null; then
        kubectl get nodes,csinodes,csidrivers,storageclasses,pv -o wide >"$to/cluster.txt" 2>&1 || true
        kubectl get pods,pvc,statefulsets,csistoragecapacities -A -o wide >"$to/objects.txt" 2>&1 || true
        kubectl get events -A --sort-by=.lastTimestamp >"$to/events.txt" 2>&1 || true
        kubectl describe pods,pvc -A >"$to/describe.txt" 2>&1 || true
    fi
    local node
    for node in "${NODES[@]}"; do cp -r "$RUN/node-$node/pod-logs" "$to/node-$node-pods" 2>/dev/null || true; done
    say "logs are in $to"
}
