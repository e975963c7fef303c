// Package wire is a bare ZooKeeper client for tests: it sends the frames it is
// told to send and returns the frames that come back, in the order in which they
// came. It keeps no session alive, retries nothing, and lets a test say things
// that no library would (a TTL out of range, an unknown operation, a request
// behind an unanswered handshake).
//
// It is deliberately independent of the server's own codec. What may not enter:
// anything that hides a byte from the test.
package wire
