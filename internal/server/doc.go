// Package server serves ZooKeeper clients on one member.
//
// A request's way: a loop over many clients (sockets, netconn.go) reads bytes,
// reader.go cuts frames, request.go looks at the operation. A read is answered
// from the local tree at once if nothing of the session is outstanding, and
// otherwise waits in the connection's queue (queue.go); a write gets the session's next
// number and goes into the replica's outbox. What is committed comes back
// through apply.go, in log order: first the events of each transaction are
// appended to the connections that watch, then the reply to its own
// connection, then whatever reads waited behind it. Each touched connection is
// flushed once per batch. No goroutine belongs to a connection, except while its
// client is slow to read.
//
// Locks, in the order in which they are taken: Server.state (the replicated
// state; applying holds it for writing, requests for reading), Conn.mu, then
// the outbox's and the watch table's own. Nothing is called with a lock held
// that could wait for the network or the disk.
//
// In the room: handshake, the per-session pipeline, reads, events, replies,
// the leader's expiry of sessions, limits on clients. Not in the room: what a
// write does (statemachine), how it is replicated (replica), and the
// operations surface (admin).
package server
