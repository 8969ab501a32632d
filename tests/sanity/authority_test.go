package sanity

import (
	"context"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// csiServesPath says whether the CSI socket serves clients that send its path as authority. It need not, as
// the kubelet of today and the sidecars do not, but both sockets replace the path; the registration socket
// has to.
const csiServesPath = true

// manner is one way in which a Go client dials a unix socket. They differ in the HTTP/2 :authority that
// they send, and that is where servers in other languages come to grief: the path of a socket is no
// legal authority, not even escaped, so that tonic's h2 resets the stream with PROTOCOL_ERROR.
type manner struct {
	name    string
	target  func(socket string) string
	options func(socket string) []grpc.DialOption
	// sendsPath says that the authority is the socket's path, with "%2F" for "/".
	sendsPath bool
}

// manners lists those in use. The path as authority is no thing of the past: of the kubelet's two clients
// (seen in 1.36) the one for CSI says "localhost" (csi_client.go), the plugin manager leaves the choice
// to grpc-go (operation_generator.go), which takes the path.
var manners = []manner{
	{
		name:    "unix target, as Go programs do",
		target:  unixTarget,
		options: noOptions,
	},
	{
		name:    "unix target and own dialer, as the sidecars do",
		target:  unixTarget,
		options: ownDialer,
	},
	{
		name:   "unix target and authority localhost, as csi-sanity does",
		target: unixTarget,
		options: func(string) []grpc.DialOption {
			return []grpc.DialOption{grpc.WithAuthority("localhost")}
		},
	},
	{
		name:   "passthrough and authority localhost, as the kubelet's CSI client does",
		target: passthroughTarget,
		options: func(socket string) []grpc.DialOption {
			return append(ownDialer(socket), grpc.WithAuthority("localhost"))
		},
	},
	{
		name:      "passthrough and grpc-go's choice of authority, as the kubelet's plugin manager does",
		target:    passthroughTarget,
		options:   ownDialer,
		sendsPath: true,
	},
	{
		name:   "unix target and the escaped path as authority, as old grpc-go does",
		target: unixTarget,
		options: func(socket string) []grpc.DialOption {
			return []grpc.DialOption{grpc.WithAuthority(url.PathEscape(socket))}
		},
		sendsPath: true,
	},
}

func unixTarget(socket string) string        { return "unix://" + socket }
func passthroughTarget(socket string) string { return "passthrough:///" + socket }

func noOptions(string) []grpc.DialOption { return nil }

func ownDialer(socket string) []grpc.DialOption {
	return []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	})}
}

func (m manner) dial(t *testing.T, socket string) *grpc.ClientConn {
	t.Helper()
	options := append(m.options(socket), grpc.WithTransportCredentials(insecure.NewCredentials()))
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

// TestEveryClientIsServed proves that the CSI socket answers each client that dials it today.
func TestEveryClientIsServed(t *testing.T) {
	agent := startAgent(t)
	for _, manner := range manners {
		t.Run(manner.name, func(t *testing.T) {
			connection := manner.dial(t, agent.csiSocket())

			info, err := csi.NewIdentityClient(connection).GetPluginInfo(callContext(t), &csi.GetPluginInfoRequest{})
			if manner.sendsPath && !csiServesPath {
				// Only to keep csiServesPath true to the facts, and the refusal prompt.
				if code := status.Code(err); code != codes.Internal {
					t.Errorf("GetPluginInfo: %v, want a refusal", code)
				}
				return
			}
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
