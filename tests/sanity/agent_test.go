package sanity

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	driverName = "csi.berth.dev"

	// startTimeout is generous: the binary may be a debug build on a busy machine.
	startTimeout = 30 * time.Second
	stopTimeout  = 30 * time.Second

	// maxSocketPath is what sockaddr_un holds besides the final zero, see unix(7).
	maxSocketPath = 107
)

// agent is a `berth agent` that runs in a kubelet's directory made for the test.
type agent struct {
	// directory stands for /var/lib/kubelet and holds the pool as well.
	directory string
	process   *exec.Cmd
	exited    chan error
}

func (a *agent) path(elements ...string) string {
	return filepath.Join(append([]string{a.directory}, elements...)...)
}

func (a *agent) csiSocket() string {
	return a.path("plugins", driverName, "csi.sock")
}

func (a *agent) registrationSocket() string {
	return a.path("plugins_registry", driverName+"-reg.sock")
}

func (a *agent) log() string { return a.path("agent.log") }

// startAgent starts the binary named by BERTH_BIN and waits until it is ready. When the test ends, it is
// stopped and everything it made is removed.
func startAgent(t *testing.T) *agent {
	t.Helper()
	binary := os.Getenv("BERTH_BIN")
	if !filepath.IsAbs(binary) {
		t.Fatalf("BERTH_BIN is %q: set it to the absolute path of the berth binary", binary)
	}
	if errShared != nil {
		t.Fatalf("no mount namespace of its own, run as root or allow user namespaces: %v", errShared)
	}

	// Not t.TempDir: its path is long, and it would be deleted even with a volume mounted in it.
	directory, err := os.MkdirTemp("", "berth-")
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{directory: directory, exited: make(chan error, 1)}
	t.Cleanup(func() { a.remove(t) })
	if path := a.registrationSocket(); len(path) > maxSocketPath {
		t.Fatalf("%s has more than %d bytes: set TMPDIR to a shorter path", path, maxSocketPath)
	}

	// What the kubelet and the DaemonSet's volumes provide.
	for _, directory := range []string{
		a.path("pool"),
		a.path("pods"),
		a.path("plugins", "kubernetes.io", "csi"),
		filepath.Dir(a.csiSocket()),
		filepath.Dir(a.registrationSocket()),
	} {
		if err := os.MkdirAll(directory, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	a.run(t, binary)
	a.awaitReady(t)
	return a
}

func (a *agent) run(t *testing.T, binary string) {
	t.Helper()
	log, err := os.Create(a.log())
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()

	a.process = exec.Command(binary, "agent", "--init-pool",
		"--pool", a.path("pool"),
		"--csi-endpoint", "unix://"+a.csiSocket(),
		"--kubelet-dir", a.directory,
		"--node-name", "sanity-node",
		"--http-addr", "127.0.0.1:0",
	)
	a.process.Env = withoutBerth(os.Environ())
	a.process.Stdout, a.process.Stderr = log, log
	// A test binary that panics or times out runs no cleanup.
	a.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := a.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.stop(t) })
	go func() { a.exited <- a.process.Wait() }()
}

// withoutBerth drops the variables that stand for flags, lest a developer's own settings leak in.
func withoutBerth(environment []string) []string {
	var kept []string
	for _, variable := range environment {
		if !strings.HasPrefix(variable, "BERTH_") {
			kept = append(kept, variable)
		}
	}
	return kept
}

func (a *agent) awaitReady(t *testing.T) {
	t.Helper()
	deadline := time.After(startTimeout)
	for {
		err := a.probe(t.Context())
		if err == nil {
			return
		}
		select {
		case exit := <-a.exited:
			a.exited <- exit
			t.Fatalf("the agent ended before it was ready: %v", exit)
		case <-deadline:
			t.Fatalf("the agent is not ready after %v: %v", startTimeout, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// probe connects anew each time: a connection that failed once waits a second before it tries again.
func (a *agent) probe(ctx context.Context) error {
	connection, err := grpc.NewClient("unix://"+a.csiSocket(),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()

	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	answer, err := csi.NewIdentityClient(connection).Probe(ctx, &csi.ProbeRequest{})
	if err != nil {
		return err
	}
	if ready := answer.GetReady(); ready != nil && !ready.GetValue() {
		return errors.New("Probe answers ready = false")
	}
	return nil
}

// stop asks the agent to end, as the kubelet does, and insists that it ends well.
func (a *agent) stop(t *testing.T) {
	// The agent may have ended by itself; what Wait says then is the verdict.
	_ = a.process.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-a.exited:
		if err != nil {
			t.Errorf("the agent did not end well: %v", err)
		}
	case <-time.After(stopTimeout):
		_ = a.process.Process.Kill()
		t.Errorf("the agent still runs %v after SIGTERM", stopTimeout)
		<-a.exited
	}
}

// remove takes away all that is left, and says what should not have been.
func (a *agent) remove(t *testing.T) {
	mounts, err := mountsBeneath(a.directory)
	if err != nil {
		t.Errorf("read the mount table: %v", err)
		return
	}
	for _, mount := range mounts {
		t.Errorf("still mounted: %s", mount)
		if err := syscall.Unmount(mount, syscall.MNT_DETACH|0x8 /* UMOUNT_NOFOLLOW */); err != nil {
			// Deleting now would delete what is mounted.
			t.Errorf("unmount %s, so %s stays: %v", mount, a.directory, err)
			return
		}
	}

	if log, err := os.ReadFile(a.log()); err == nil && t.Failed() {
		t.Logf("the agent's log:\n%s", log)
	}
	if err := os.RemoveAll(a.directory); err != nil {
		t.Errorf("remove what the agent made: %v", err)
	}
}
