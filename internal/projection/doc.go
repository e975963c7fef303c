// Package projection makes of the leader's stream of sessions what Kubernetes
// shows: the summary in status, Events, and Lease objects for ephemerals.
//
// Its rooms, each pure: no I/O, no goroutine, the clock is an argument.
//
//   - pattern: the paths that a rule of spec.leases means, and Lease names.
//   - stream: the admin API's WatchSessions, as the mirror takes it.
//   - mirror: sessions and ephemerals as the stream tells them, and whether
//     they may be taken for the present.
//   - leases: from ephemerals and rules to a bounded list of writes.
//   - summary: what status and Events say about sessions, and how often.
//   - crd: the CoordinationCluster's types, to and from these.
//
// In the room: from changes in an ensemble to changes in Kubernetes. Not in the
// room: reconciling the ensemble itself, and whoever carries streams and writes.
package projection
