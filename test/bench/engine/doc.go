// Package engine drives many client connections from one thread: epoll, one
// shared read buffer, requests written in one go per connection, replies checked
// where they lie. One operation costs the generator two system calls at depth 1,
// and a share of two with pipelining.
//
// Every reply is checked on arrival: its transaction number is the oldest
// outstanding one's, and its zxid never goes back on a connection. An event with
// a zxid must be newer than anything that the connection was told before. A
// breach is a Violation and ends the run.
//
// A Loop belongs to one goroutine; only Post may be called from others. What may
// not enter: knowledge of cells, latencies or figures (they are package load's).
package engine
