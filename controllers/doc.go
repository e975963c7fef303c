// Package controllers reconciles CoordinationClusters: observe, plan, act, one
// concern a file, at most one disruptive act a pass.
//
// In the room: reading and writing Kubernetes objects and asking members. Not in
// the room: decisions. Those are pure functions in internal/resources,
// internal/membership and internal/rollout.
package controllers
