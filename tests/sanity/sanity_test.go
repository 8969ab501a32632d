package sanity

import (
	"fmt"
	"testing"

	suite "github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	"github.com/onsi/gomega"
)

const mebibyte = 1 << 20

// TestSanity runs csi-test's suite against the agent. It knows nothing of Berth, and so finds what our
// own tests take for granted.
func TestSanity(t *testing.T) {
	agent := startAgent(t)

	config := suite.NewTestConfig()
	config.Address = "unix://" + agent.csiSocket()
	config.TargetPath = agent.path("pods", "csi-mount")
	config.StagingPath = agent.path("plugins", "kubernetes.io", "csi", "csi-staging")
	// Small, so that the tests fit on any disk.
	config.TestVolumeSize = 16 * mebibyte
	config.TestVolumeExpandSize = 32 * mebibyte

	var report types.Report
	ginkgo.ReportAfterSuite("keep the report", func(r ginkgo.Report) { report = r })
	gomega.RegisterFailHandler(ginkgo.Fail)
	context := suite.GinkgoTest(&config)
	suiteConfig, reporterConfig := ginkgo.GinkgoConfiguration()
	reporterConfig.NoColor = true
	ginkgo.RunSpecs(t, "CSI sanity", suiteConfig, reporterConfig)
	context.Finalize()

	result := tally(report)
	compareSkips(t, result.skipped, readExpectedSkips(t))
	for _, spec := range result.pending {
		t.Logf("switched off in the suite itself: %s", spec)
	}
	if len(result.passed) == 0 || len(result.failed) > 0 {
		t.Errorf("%d specs passed and %d failed", len(result.passed), len(result.failed))
	}
	fmt.Printf("csi-sanity: %d ran, %d passed, %d failed, %d skipped, %d pending\n",
		len(result.passed)+len(result.failed),
		len(result.passed), len(result.failed), len(result.skipped), len(result.pending))
}

// result holds the full texts of the specs by what became of them.
type result struct{ passed, failed, skipped, pending []string }

func tally(report types.Report) result {
	var r result
	for _, spec := range report.SpecReports {
		if !spec.LeafNodeType.Is(types.NodeTypeIt) {
			continue
		}
		switch text := spec.FullText(); {
		case spec.State.Is(types.SpecStatePassed):
			r.passed = append(r.passed, text)
		case spec.State.Is(types.SpecStateSkipped):
			r.skipped = append(r.skipped, text)
		case spec.State.Is(types.SpecStatePending):
			r.pending = append(r.pending, text)
		default:
			r.failed = append(r.failed, text)
		}
	}
	return r
}
