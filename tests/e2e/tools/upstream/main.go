// Kubernetes' own end-to-end tests of storage drivers (External.Storage), and no others.
//
//	upstream -kubeconfig FILE -storage.testdriver DRIVER.yaml [-ginkgo.dry-run] [-ginkgo.skip …]
package main

import (
	"flag"
	"os"

	"github.com/onsi/ginkgo/v2"
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
	// Reading -storage.testdriver defines the specs of that driver.
	flag.Parse()
	// The class that the driver's definition names is in the working directory.
	testfiles.AddFileSource(testfiles.RootFileSource{Root: "."})
	testfiles.AddFileSource(manifests.GetE2ETestingManifestsFS())
	framework.AfterReadingAllFlags(&framework.TestContext)

	gomega.RegisterFailHandler(framework.Fail)
	suite, reporter := framework.CreateGinkgoConfig()
	v := &verdict{}
	if !ginkgo.RunSpecs(v, "External.Storage", suite, reporter) || v.failed {
		os.Exit(1)
	}
}
