// Package roster is what a leader knows of all sessions together: which of them
// has a connection, and where; and, once somebody wants to follow, their
// ephemeral nodes and everything that changes.
//
// In the room: the state of every session, from what is applied and from what
// members report of their connections; a bounded ring of changes; readers that
// go through it at their own pace and start again with the whole if they fall
// behind; the wire form of members' reports.
//
// Not in the room: sockets, goroutines, the time of day, expiry (package
// session), and how readers are served (packages server and admin). All of it
// is volatile and a leader's own: the next leader makes one from the session
// table and from the first reports that it gets.
package roster
