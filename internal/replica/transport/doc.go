// Package transport carries what the members of an ensemble say to each other:
// raft messages, forwarded client operations, session reports, snapshots, and
// single calls for founding an ensemble, joining it and probing it.
//
// In the room: one TCP listener per member, the streams dialled to every other
// member, the framing and the encoding of raft messages, reconnection, bounds.
//
// Not in the room: any decision of raft, what a forwarded batch or a call
// means, who is a member. The caller says who the peers are (SetPeers) and who
// this member is (SetIdentity), and is told what arrived (Handler).
//
// # Streams
//
// Every stream is a connection of its own, dialled by the one that sends:
//
//   - control: heartbeats, votes, read indexes, whatever is small and must not
//     wait behind data;
//   - data: MsgApp, its responses, forwarded operations, session reports;
//   - snapshot: one connection for each snapshot;
//   - call: one request and its reply; usable before an ensemble exists.
//
// A stream starts with a hello that names the cluster, the sender and the
// member that it believes it is calling. A member that is not meant, or is of
// another cluster, refuses and says why. A newer stream of the same kind from
// the same member replaces the older one.
//
// # What may be lost
//
// A stream delivers in order and without gaps for as long as it stands. When
// it breaks, whatever was queued or under way is gone; raft repairs its own
// loss (Handler.Unreachable), and forwarded operations are for their owner to
// send again once Handler.PeerConnected has been called.
//
// # Liveness
//
// Each stream carries pings in one direction and pongs in the other. A side
// that hears nothing for Options.SilenceTimeout closes the stream, and the
// dialling side dials again: at once after a stream that had stood for a
// while, otherwise with a jittered backoff, and at once when the peer's own
// hello shows that it lives.
package transport
