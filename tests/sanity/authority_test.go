package sanity

import (
	"context"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// manner is one way in which a Go client dials a unix socket. They differ in the HTTP/2 :authority that
// they send, and that is where servers in other languages come to grief: the path of a socket is no
// legal authority.
type manner struct {
	name    string
	target  func(socket string) string
	options func(socket string) []grpc.DialOption
}

// manners lists those that are in use. The path as authority is not a thing of the past: the kubelet's
// plugin manager sends it (seen in 1.36, operation_generator.go), while its CSI client says "localhost".
var manners = []manner{
	{
		name:   "unix target",
		target: unixTarget,
	},
	{
		name:    "unix target with own dialer, as the sidecars of csi-lib-utils",
		target:  unixTarget,
		options: func(socket string) []grpc.DialOption { return ownDialer(socket) },
	},
	{
		name:   "unix target and authority localhost, as csi-sanity",
		target: unixTarget,
		options: func(string) []grpc.DialOption {
			return []grpc.DialOption{grpc.WithAuthority("localhost")}
		},
	},
	{
		name:   "passthrough and authority localhost, as the kubelet's CSI client",
		target: passthroughTarget,
		options: func(socket string) []grpc.DialOption {
			return append(ownDialer(socket), grpc.WithAuthority("localhost"))
		},
	},
	{
		name:    "passthrough with the escaped path as authority, as the kubelet's plugin manager",
		target:  passthroughTarget,
		options: func(socket string) []grpc.DialOption { return ownDialer(socket) },
	},
	{
		name:   "unix target and the escaped path as authority, as older grpc-go",
		target: unixTarget,
		options: func(socket string) []grpc.DialOption {
			return []grpc.DialOption{grpc.WithAuthority(url.PathEscape(socket))}
		},
	},
}

func unixTarget(socket string) string        { return "unix://" + socket }
func passthroughTarget(socket string) string { return "passthrough:///" + socket }

func ownDialer(socket string) []grpc.DialOption {
	return []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	})}
}

func (m manner) dial(t *testing.T, socket string) *grpc.ClientConn {
	t.Helper()
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if m.options != nil {
		options = append(options, m.options(socket)...)
	}
	connection, err := grpc.NewClient(m.target(socket), options...)
	if err != nil {
		t.Fatalf("dial %s: %v", socket, err)
	}
	t.Cleanup(func() { connection.Close() })
	return connection
}

// callContext allows what the kubelet does not always: a busy machine.
func callContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestEveryClientIsServed proves that the CSI socket answers each client, whatever authority it sends.
func TestEveryClientIsServed(t *testing.T) {
	agent := startAgent(t)
	for _, manner := range manners {
		t.Run(manner.name, func(t *testing.T) {
			connection := manner.dial(t, agent.csiSocket())

			info, err := csi.NewIdentityClient(connection).GetPluginInfo(callContext(t), &csi.GetPluginInfoRequest{})
			if err != nil {
				t.Fatalf("GetPluginInfo: %v", err)
			}
			if info.GetName() != driverName || info.GetVendorVersion() == "" {
				t.Errorf("GetPluginInfo answers %v", info)
			}

			// A second call reuses the connection, where the authority comes from HPACK's table.
			abilities, err := csi.NewControllerClient(connection).
				ControllerGetCapabilities(callContext(t), &csi.ControllerGetCapabilitiesRequest{})
			if err != nil {
				t.Fatalf("ControllerGetCapabilities: %v", err)
			}
			if len(abilities.GetCapabilities()) == 0 {
				t.Error("ControllerGetCapabilities names none")
			}
		})
	}
}
