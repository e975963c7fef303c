// Package projection makes of the leader's stream of sessions what Kubernetes
// shows: the summary in status, and Lease objects for ephemerals.
//
// In the room: from changes in an ensemble to changes in Kubernetes. Not in the
// room: reconciling the ensemble itself.
package projection
