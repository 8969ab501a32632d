package sanity

import (
	"os"
	"slices"
	"strings"
	"testing"
)

const expectedSkipsFile = "expected_skips.txt"

// readExpectedSkips reads the specs that may be skipped: one per line, in groups that each begin with a
// comment on what would switch them on, so that nothing is listed without a reason.
func readExpectedSkips(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(expectedSkipsFile)
	if err != nil {
		t.Fatal(err)
	}
	var specs, group []string
	explained := false
	for number, line := range strings.Split(string(text), "\n") {
		switch {
		case line == "":
			explained, group = false, nil
		case strings.HasPrefix(line, "#"):
			explained = true
		case !explained:
			t.Errorf("%s:%d: no comment says why this may be skipped", expectedSkipsFile, number+1)
		default:
			specs, group = append(specs, line), append(group, line)
			if !slices.IsSorted(group) {
				t.Errorf("%s:%d: the group is not sorted", expectedSkipsFile, number+1)
			}
		}
	}
	return specs
}

// compareSkips fails both ways: a spec that is skipped without our knowing proves nothing, and one that
// runs now has to leave the list.
func compareSkips(t *testing.T, skipped, expected []string) {
	t.Helper()
	for _, spec := range surplus(skipped, expected) {
		t.Errorf("skipped, but not in %s: %s", expectedSkipsFile, spec)
	}
	for _, spec := range surplus(expected, skipped) {
		t.Errorf("in %s, but not skipped: %s", expectedSkipsFile, spec)
	}
}

// surplus lists what a has and b has not, counting repetitions.
func surplus(a, b []string) []string {
	left := slices.Clone(b)
	var more []string
	for _, text := range a {
		if i := slices.Index(left, text); i >= 0 {
			left = slices.Delete(left, i, i+1)
		} else {
			more = append(more, text)
		}
	}
	return more
}
