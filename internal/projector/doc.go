// Package projector carries what internal/projection decides: a stream of sessions
// from each cluster's leader into a mirror, the writes of its Leases, its Events,
// and what the reconciler is to write into status.
//
// Each cluster has a follower, one goroutine that owns its mirror and its planner;
// a stream and writes have goroutines of their own, which only carry. A follower
// begins with Follow and ends with Forget, or with the Projector. What waits for it
// is bounded: a few messages of the stream (then the leader waits, and sends all of
// it again), one notice for each Lease, the writes under way.
//
// In the room: streams, watches, writes. Not in the room: decisions about them, and
// status, which controllers write.
package projector
