// Package session holds what an ensemble knows about its clients' sessions:
// the replicated table, which is a pure function of the log, and the expiry
// clock, which only the leader runs.
//
// The two halves never call each other. Whether a session exists, to whom it
// is attached and whether an expiry is still valid stands in the table, and
// is decided when an entry is applied. The clock only proposes: it is
// volatile, knows ids and silence, and may be wrong at any time, since an
// expiry that it proposes names what it saw and is void if that has moved.
//
// Not in the room: sockets, the log, znodes, goroutines, and the time of day.
// Both halves are handed the time.
package session
