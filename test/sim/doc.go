// Package sim runs whole ensembles in one process, from one seed: the production
// packages statemachine, session, storage, replica and server, on one
// scheduler, with its clock, its network and its disks, and clients that use
// what those serve. The same seed gives the same history, byte for byte.
//
// A World has members (member.go, process.go), the network between them
// (net.go), their disks (disk.go), clients (client.go, conn.go) with something
// to do (workload.go), and somebody who breaks things (faults.go). Only one piece
// of code runs at any time: an event of the scheduler (sched.go), or a coroutine
// that an event has resumed. A coroutine is what takes time in the middle: a
// sync of the log, a snapshot being written or sent.
//
// What happens is held against one account of it (truth.go): each entry of the
// log as the first member applied it, executed by a state machine of the
// simulation's own. The checkers (check_*.go) know what clients were told, and
// what they may be told:
//
//   - lost: no entry that was applied is ever another one, and all members end
//     with all of them; an acknowledged write is among them;
//   - doubled: no request executes twice;
//   - order: writes, and syncs, come after everything that was acknowledged before
//     they were sent; a session's answers come in the order of its requests, with
//     zxids that do not fall;
//   - read: what a read shows is what was there at the zxid of its answer;
//   - ephemeral: nodes of a session exist until they are deleted or it ends;
//   - expiry: no session whose client was answered within its timeout expires;
//   - watch: every watch fires once, for the first change, before any answer
//     shows it;
//   - persistent: a persistent watch fires once for every change, in order, and
//     before any answer shows it;
//   - acl: a locked node is read by those who have its key, and by nobody else;
//   - reap: containers and nodes with a time to live go by themselves, not early;
//   - digest: members have equal states at equal indexes;
//   - stall: a leader without its disk is rid of leadership in time, if another can lead;
//   - live: when everything is mended, everything goes on.
//
// Each checker is known to bite: bugs.go has a bug for each, which the tests put
// between the production packages and the simulation's clock, disks and
// network.
//
// What is not tried here: how a member finds out that it was removed, and how a new
// ensemble is made of the survivor of a lost majority. Both are package member's,
// which has tests of its own; a simulated member is told, and starts clean with what
// package storage has for that. Nor is what an outbox forgets of clients that have
// hung up: they are promised nothing, so that no checker could tell.
//
// In the room: nothing that production code needs. Not in the room: real time,
// goroutines that run beside each other, the iteration order of maps.
package sim
