// Package resources turns a CoordinationCluster into the Kubernetes objects that
// it wants.
//
// In the room: pure functions from a spec to objects. Not in the room: clients,
// clocks, and what is observed.
package resources
