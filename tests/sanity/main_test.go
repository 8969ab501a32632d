package sanity

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// privateEnv tells a copy of this test binary that it runs in a mount namespace of its own.
const privateEnv = "BERTH_SANITY_PRIVATE"

// errShared is why the tests run in the machine's own mount namespace, nil if they do not.
var errShared error

// TestMain runs the tests in a mount namespace of their own, so that no mount of theirs can stay behind
// on the machine. The whole process moves, since the suite has to see the mounts that the agent makes.
func TestMain(m *testing.M) {
	if os.Getenv(privateEnv) != "" {
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			fmt.Fprintln(os.Stderr, "make the mounts private:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}

	code, err := runPrivate()
	if err != nil {
		// The contract can be compared without a namespace; what needs one says so.
		errShared = err
		code = m.Run()
	}
	os.Exit(code)
}

// runPrivate runs this binary again, with the same arguments, in new namespaces. It returns an error
// only when they could not be made.
func runPrivate() (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	again := exec.Command(self, os.Args[1:]...)
	again.Env = append(os.Environ(), privateEnv+"=1")
	again.Stdin, again.Stdout, again.Stderr = os.Stdin, os.Stdout, os.Stderr
	again.SysProcAttr = privateNamespaces()

	err = again.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1), nil // -1 stands for a signal
	default:
		return 0, err
	}
}

func privateNamespaces() *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		// An ordinary user may mount only where a user namespace makes it root.
		attributes.Cloneflags |= syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return attributes
}

// mountsBeneath lists the mount points below a directory, the latest first.
func mountsBeneath(directory string) ([]string, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(table)) {
		// The fifth field is the mount point, see proc_pid_mountinfo(5). The directory is ours and
		// holds no character that would be escaped there.
		fields := strings.Fields(line)
		if len(fields) > 4 && strings.HasPrefix(fields[4], directory+"/") {
			found = append([]string{fields[4]}, found...)
		}
	}
	return found, nil
}
