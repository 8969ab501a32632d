package sanity

import (
	"regexp"
	"slices"
	"testing"

	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// TestKubeletCanRegister plays the kubelet's part of a plugin's registration, in every manner of
// dialling: the kubelet's own is the one that sends the socket's path as authority.
func TestKubeletCanRegister(t *testing.T) {
	agent := startAgent(t)
	for _, manner := range manners {
		t.Run(manner.name, func(t *testing.T) {
			client := registration.NewRegistrationClient(manner.dial(t, agent.registrationSocket()))

			info, err := client.GetInfo(callContext(t), &registration.InfoRequest{})
			if err != nil {
				t.Fatalf("GetInfo: %v", err)
			}
			if info.GetType() != registration.CSIPlugin {
				t.Errorf("type is %q", info.GetType())
			}
			if info.GetName() != driverName {
				t.Errorf("name is %q", info.GetName())
			}
			if info.GetEndpoint() != agent.csiSocket() {
				t.Errorf("endpoint is %q, the socket is %q", info.GetEndpoint(), agent.csiSocket())
			}
			checkVersions(t, info.GetSupportedVersions())

			if _, err := client.NotifyRegistrationStatus(callContext(t),
				&registration.RegistrationStatus{PluginRegistered: true}); err != nil {
				t.Errorf("NotifyRegistrationStatus: %v", err)
			}
		})
	}
}

// checkVersions asks for what the kubelet needs: it skips versions that it cannot read and those from 2 on,
// and turns a plugin away if none is left.
func checkVersions(t *testing.T, versions []string) {
	t.Helper()
	readable := regexp.MustCompile(`^1\.\d+(\.\d+)?$`)
	if !slices.ContainsFunc(versions, readable.MatchString) {
		t.Errorf("no version 1 of CSI among %q", versions)
	}
}
