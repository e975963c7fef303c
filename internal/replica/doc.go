// Package replica makes one member of an ensemble out of a raft group, a log,
// a snapshot store, a transport and a state machine.
//
// A write's way through it: the server encodes it into the Outbox; the loop
// (loop.go) forwards what the Outbox holds to the leader, or, on the leader,
// packs everything that queued up into one entry and proposes it; the log
// writer (logwriter.go) makes entries durable, one fdatasync for all that
// arrived during the last one, while the transport sends the same entries to
// the others; the applier (applier.go) hands what is committed to the state
// machine in log order.
//
// The three run as goroutines in a server, each a small loop around one
// function (turn, writeOnce, applyOnce). None waits for another: whoever can't
// go on holds its queue until it is released (queue.go). So a simulation can
// run them itself, on one goroutine (step.go). The clock, the disk and the
// network come from outside.
//
// In the room: proposing, committing, membership, leader transfer, snapshots,
// and how an ensemble begins or is joined (found.go, join.go). Not in the
// room: what an operation means, sessions, and client connections.
package replica
