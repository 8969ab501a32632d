// Kubernetes' own end-to-end tests of storage drivers (External.Storage), and no others.
//
//	upstream -kubeconfig FILE -storage.testdriver DRIVER.yaml [-progress FILE] [-summary FILE] [-ginkgo.focus …]
//
// Ginkgo's own command runs it in several processes at a time; see tests/e2e/upstream/run.
package main

import (
	"flag"
	"os"
	"slices"
	"testing"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	"github.com/onsi/gomega"
	"k8s.io/kubernetes/test/e2e/framework"
	"k8s.io/kubernetes/test/e2e/framework/config"
	"k8s.io/kubernetes/test/e2e/framework/testfiles"
	_ "k8s.io/kubernetes/test/e2e/storage/external"
	manifests "k8s.io/kubernetes/test/e2e/testing-manifests"
)

// verdict is what Ginkgo wants of *testing.T.
type verdict struct{ failed bool }

func (v *verdict) Fail() { v.failed = true }

func main() {
	config.CopyFlags(config.Flags, flag.CommandLine)
	framework.RegisterCommonFlags(flag.CommandLine)
	framework.RegisterClusterFlags(flag.CommandLine)
	progress := flag.String("progress", "/dev/null", "a file that gets a line for each spec that ran")
	summary := flag.String("summary", "/dev/null", "a file that gets the table at the end")
	// Flags of a test binary, which Ginkgo's command takes this one for.
	testing.Init()
	ginkgo.AddTreeConstructionNodeArgsTransformer(disruptiveAlone)
	// Reading -storage.testdriver defines the specs of that driver.
	flag.Parse()
	// Where the class is that the driver's definition names.
	testfiles.AddFileSource(testfiles.RootFileSource{Root: framework.TestContext.RepoRoot})
	testfiles.AddFileSource(manifests.GetE2ETestingManifestsFS())
	framework.AfterReadingAllFlags(&framework.TestContext)
	report(*progress, *summary)

	gomega.RegisterFailHandler(framework.Fail)
	suite, reporter := framework.CreateGinkgoConfig()
	for pattern := range notHere {
		suite.SkipStrings = append(suite.SkipStrings, pattern)
	}
	v := &verdict{}
	if !ginkgo.RunSpecs(v, "External.Storage", suite, reporter) || v.failed {
		os.Exit(1)
	}
}

// disruptiveAlone has specs that stop a kubelet run when no others do.
func disruptiveAlone(_ types.NodeType, _ ginkgo.Offset, text string, args []any) (string, []any, []error) {
	isDisruptive := func(arg any) bool { return framework.TagsEqual(arg, framework.WithDisruptive()) }
	if slices.ContainsFunc(args, isDisruptive) {
		args = append(args, ginkgo.Serial)
	}
	return text, args, nil
}
