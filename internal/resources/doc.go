// Package resources turns a CoordinationCluster into the Kubernetes objects that
// it wants.
//
// In the room: pure functions from a spec to objects. Not in the room: clients,
// clocks, and what is observed, but for what the API server does not let change
// (Revision, ClaimSizes).
//
// Objects are apply configurations, for server-side apply: they say what the
// operator decides and nothing else, where a typed object would claim every field
// that is empty. All functions want a cluster with its defaults filled in.
//
// Pods are the exception in two ways. They are built as typed objects, since the
// user's podTemplate is merged into them. And they are not rendered on every
// pass: a Revision holds what was rendered when its hash, which is made of what
// the spec says, was first seen. Another version of the operator renders pods in
// another way, but only for the next hash; so that it restarts nobody.
package resources
