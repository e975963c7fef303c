// Package e2e tests the operator as people run it: deployed by config/default
// into a Kubernetes of three nodes, told what to do with kubectl, and broken
// with hack/localcluster/faults. make test-e2e runs it.
//
// Genuine clients hold sessions, ephemeral nodes and a lock, and append, from a
// cluster's beginning to its end. At the end of every test the checkers of
// test/faults/check judge what they were told: no session was lost, and no
// acknowledged write is missing.
//
// Clients in Go, Java and C (candidate) hold nodes and stand in elections, while
// watches of the tests' own see what status and Leases make of that; witness judges
// it. How long it took is printed, and is not judged by this machine's speed.
//
// With CLUSTER=current what breaks no node runs against kubectl's current
// context, with two builds of the image from CLUSTER_IMAGE and
// CLUSTER_IMAGE_NEXT; the clients must be able to reach Services' addresses.
// CLUSTER_KEEP=1 leaves the local cluster running after a failure.
package e2e
