// Package cluster tests the local cluster of hack/localcluster: that it is the
// Kubernetes on which the tests of the operator may rely, that it breaks and
// mends as told, and that nothing is left of it. make test-cluster runs it.
//
// With CLUSTER=current what does not break anything runs against kubectl's
// current context, with the probe's image from CLUSTER_IMAGE.
package cluster
