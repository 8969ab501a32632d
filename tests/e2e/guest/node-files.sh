# The configuration of a node's software, on standard output.
# shellcheck shell=bash

cni_config() {
    cat <<Y
{
  "cniVersion": "0.4.0",
  "name": "cluster",
  "plugins": [{
    "type": "ptp",
    "ipam": {
      "type": "host-local",
      "ranges": [[{"subnet": "$(pod_range "$NODE")"}]],
      "routes": [{"dst": "0.0.0.0/0"}],
      "dataDir": "/run/cni-ipam"
    }
  }]
}
Y
}

# restrict_oom_score_adj: without CAP_SYS_RESOURCE, runc cannot lower the score of a container.
containerd_config() {
    cat <<Y
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE_IMAGE"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$DEBIAN/usr/lib/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        BinaryName = "$DEBIAN/usr/sbin/runc"
Y
}

# What differs from the kubelet's own choices, and why:
# - cgroup v1 is allowed, and there is no systemd to make cgroups;
# - no iptables on the machine, no swap to care about;
# - sysctls are only looked at (pretend_sysctls);
# - the machine's disk may be rather full: no eviction and no image is collected because of it;
# - the node's status comes often enough for a test to watch it.
kubelet_config() {
    cat <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $RUN/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $RUN/pki/node-$NODE.crt
tlsPrivateKeyFile: $RUN/pki/node-$NODE.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
clusterDNS: ["$DNS_IP"]
clusterDomain: cluster.local
resolvConf: ""
failCgroupV1: false
cgroupDriver: cgroupfs
enforceNodeAllocatable: [none]
makeIPTablesUtilChains: false
failSwapOn: false
protectKernelDefaults: true
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 1Mi, nodefs.available: "0%", imagefs.available: "0%", nodefs.inodesFree: "0%"}
nodeStatusUpdateFrequency: 4s
Y
}
