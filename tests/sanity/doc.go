// Package sanity proves the built berth binary from the outside, the way Go clients see it: with the
// CSI project's own conformance suite, with every manner of dialling that kubelets and sidecars use,
// and by comparing the wire contract in proto/ with the specification's.
//
//	BERTH_BIN=/absolute/path/of/berth go test -v -count=1 ./...
//
// The count is there because the go command does not see that the binary or the contract changed and
// would repeat an old verdict. The agent gets a mount namespace of its own, so the tests need root or
// leave to make user namespaces.
package sanity
