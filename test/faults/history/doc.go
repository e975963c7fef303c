// Package history notes what clients and servers said to each other, as it went
// over the wire: every request, answer and event of every connection, with the
// times between which a server must have acted.
//
// A Tap lies between a client and its socket, so that whatever client it is (a
// library in this process, or another process behind a Proxy), its history is
// had without asking it.
//
// In the room: the record, and how it is taken. Not in the room: what is right
// (package check), and the servers' own packages: what they mean is not asked.
package history
