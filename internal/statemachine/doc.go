// Package statemachine is the replicated state of an ensemble and the one
// function that changes it.
//
// In the room: the entry format (entry.go), Apply (machine.go) with a file for
// each family of operations, access control and quota rules, and the snapshot
// of the whole. Apply is a pure function of (state, entry): the same entries
// give the same tree, zxid and session table on every member, byte for byte.
// Time comes in the entry. No map's order, no clock, no configuration of one
// member and no randomness decides anything here; what a member's
// configuration decides (skipACL, enforceQuota) travels in the operation.
//
// This package is the only writer of the tree and the session table.
//
// Not in the room: connections, watches (Apply says what happened; the server
// looks up who watches), raft, disks, sockets, goroutines and locks.
package statemachine
