// Package v1alpha1 is the API group conclave.dev/v1alpha1: the Go types of the
// CoordinationCluster resource, its CEL rules, and every condition type and
// reason as a documented constant.
//
// In the room: types, defaults and constants. Not in the room: anything that
// reads or writes a cluster, and controller-runtime.
//
// Everything is bounded: lists and maps have a most number of items, strings a
// most length. A status can't outgrow etcd, and the API server can tell
// beforehand what a CEL rule costs.
//
// The CRD's defaults stand as markers at the fields, for kubectl explain, and
// again in SetDefaults, for objects that no API server has seen; test/api holds
// the two together.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +groupName=conclave.dev
package v1alpha1
