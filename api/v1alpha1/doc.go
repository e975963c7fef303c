// Package v1alpha1 is the API group conclave.dev/v1alpha1: the Go types of the
// CoordinationCluster resource, its CEL rules, and every condition type and
// reason as a documented constant.
//
// In the room: types and constants. Not in the room: anything that reads or
// writes a cluster, and controller-runtime.
package v1alpha1
