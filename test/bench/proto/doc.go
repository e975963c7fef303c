// Package proto writes requests of ZooKeeper's client protocol into buffers and
// reads replies where they lie: nothing is copied, nothing is allocated, so that
// the generator costs little beside the server it measures.
//
// It shares no code with the server's codec: a mistake in one must not hide the
// same mistake in the other. What may not enter: sockets, and operations that no
// cell of the bench sends.
package proto
