# A certificate authority, certificates and kubeconfigs that live as long as the cluster.
# shellcheck shell=bash

make_pki() {
    local pki=$RUN/pki node
    mkdir -p "$pki"
    (
        cd "$pki"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 30 -subj "/CN=$CLUSTER"
        # Service account tokens.
        openssl ecparam -name prime256v1 -genkey -noout -out sa.key
        openssl ec -in sa.key -pubout -out sa.pub
        certificate apiserver /CN=kube-apiserver serverAuth "IP:127.0.0.1,IP:$API_IP,IP:$SERVICE_IP,DNS:localhost,DNS:kubernetes.default.svc"
        certificate apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
        certificate admin /O=system:masters/CN=admin clientAuth
        certificate controller-manager /CN=system:kube-controller-manager clientAuth
        certificate scheduler /CN=system:kube-scheduler clientAuth
        for node in "${NODES[@]}"; do
            certificate "node-$node" "/O=system:nodes/CN=system:node:node-$node" serverAuth,clientAuth "IP:$(node_ip "$node"),DNS:node-$node"
        done
    ) >"$LOGS/pki.log" 2>&1 || die "no certificates: $(tail -n 3 "$LOGS/pki.log")"
    for node in admin controller-manager scheduler "${NODES[@]/#/node-}"; do kubeconfig "$node"; done
}

# certificate NAME SUBJECT USAGE [NAMES]
certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" \
        -extfile <(printf 'extendedKeyUsage=%s\n%s' "$3" "${4:+subjectAltName=$4}")
}

kubeconfig() {
    cat >"$RUN/pki/$1.kubeconfig" <<Y
apiVersion: v1
kind: Config
clusters: [{name: $CLUSTER, cluster: {server: "https://$API_IP:443", certificate-authority: $RUN/pki/ca.crt}}]
users: [{name: $1, user: {client-certificate: $RUN/pki/$1.crt, client-key: $RUN/pki/$1.key}}]
contexts: [{name: $CLUSTER, context: {cluster: $CLUSTER, user: $1}}]
current-context: $CLUSTER
Y
}
