package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
)

// notHere says why specs are left out that would not skip themselves, by a pattern of their names. Everything else that the
// driver does not serve, the specs find out from its definition.
var notHere = map[string]string{
	`\(default fs\)] provisioning should provision storage with any volume data source`: "needs the image hello-populator, and no registry is asked here",
	`Dynamic PV \(filesystem volmode\)] disruptive .* with a different SELinux context`: "needs nodes with SELinux",
}

// report has each spec that ran noted in one file, and all of them counted in another.
func report(progress, summary string) {
	ginkgo.ReportAfterEach(func(spec ginkgo.SpecReport) {
		if spec.State == types.SpecStateSkipped {
			return
		}
		appendTo(progress, func(file io.Writer) {
			fmt.Fprintf(file, "%-7s %5.0f s  %s\n", spec.State, spec.RunTime.Seconds(), shortName(spec))
		})
	})
	ginkgo.ReportAfterSuite("table", func(suite ginkgo.Report) {
		appendTo(summary, func(file io.Writer) { writeTable(file, suite.SpecReports) })
	})
}

func appendTo(path string, write func(io.Writer)) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	write(file)
}

// shortName is without what all of them have in common.
func shortName(spec types.SpecReport) string {
	return strings.TrimPrefix(spec.FullText(), "External Storage [Driver: csi.berth.dev] [Testpattern: ")
}

func writeTable(out io.Writer, all types.SpecReports) {
	var specs types.SpecReports
	for _, spec := range all.WithLeafNodeType(types.NodeTypeIt) {
		// The framework brings a few more along.
		if strings.HasPrefix(spec.FullText(), "External Storage") {
			specs = append(specs, spec)
		}
	}
	failed := specs.WithState(types.SpecStateFailureStates)
	skipped := specs.WithState(types.SpecStateSkipped | types.SpecStatePending)
	passed := specs.CountWithState(types.SpecStatePassed)

	reasons := map[string]int{}
	for _, spec := range skipped {
		reasons[reason(spec)]++
	}
	fmt.Fprintf(out, "\nspecs %4d\nran   %4d\n\nskipped because\n", len(specs), len(specs)-len(skipped))
	byCount := func(a, b string) int { return cmp.Or(reasons[b]-reasons[a], cmp.Compare(a, b)) }
	for _, why := range slices.SortedFunc(maps.Keys(reasons), byCount) {
		fmt.Fprintf(out, "%6d  %s\n", reasons[why], why)
	}
	for _, spec := range failed {
		fmt.Fprintf(out, "\nFAILED  %s\n        %s\n", spec.FullText(), strings.ReplaceAll(spec.FailureMessage(), "\n", "\n        "))
	}
	fmt.Fprintf(out, "\n%d passed, %d failed, %d skipped\n", passed, len(failed), len(skipped))
}

var noise = regexp.MustCompile(`^Driver "?csi\.berth\.dev"? |[ -]*- skipping$`)

// reason tells why a spec was skipped: in its own words, or those of notHere, or because nobody asked for it.
func reason(spec types.SpecReport) string {
	if said := spec.FailureMessage(); said != "" {
		return noise.ReplaceAllString(said, "")
	}
	for pattern, why := range notHere {
		if regexp.MustCompile(pattern).MatchString(spec.FullText()) {
			return why
		}
	}
	return "not asked for"
}
