// Package jute is ZooKeeper's wire codec: the primitives of jute, the records
// of the client protocol, its operation codes, error codes and constants.
//
// In the room: pure functions from bytes to records and back. Decoding yields
// views into the input, encoding appends to a caller's buffer, so that neither
// allocates on the hot path.
//
// Not in the room: sockets, clocks, sessions, and any opinion on whether a
// well-formed request is allowed.
package jute
