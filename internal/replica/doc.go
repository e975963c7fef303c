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
// When the leader proposes is the pacer's to say (pacer.go). The three are a
// small function each (turn, writeOnce, applyOnce) with a goroutine of its own;
// who has brought work does the loop's turn and the applying himself if nobody is
// at it (drive.go). None waits for another: whoever can't go on holds its queue
// until it is released (queue.go). So a simulation can run them itself, on one
// goroutine (step.go). The clock, the disk and the network come from outside.
//
// In the room: proposing, committing, membership (plan.go says what is refused),
// leader transfer, snapshots; below it how an ensemble begins (formation) and how
// members talk (transport). Not in the room: what an operation means, sessions,
// and client connections.
package replica
