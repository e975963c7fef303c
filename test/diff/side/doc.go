// Package side does a script's steps to one ensemble and tells what came back
// in a form that can be compared with what came back from another ensemble.
//
// What two ensembles may legitimately do differently is taken out here:
//
//   - Session ids become the names of the sessions, passwords their length, and
//     times are left out.
//   - Zxids are handed on beside the text, for package zxid to compare by order.
//   - Children, ephemerals and the identities of whoAmI are sorted, and so are
//     the digest entries of an access list: ZooKeeper keeps them in hash sets.
//   - The events of a session's end are sorted, since ZooKeeper deletes its
//     ephemerals in the order of a hash set. All other events are compared in
//     the order in which they came, replies among them.
//   - A member may lag. Every burst therefore begins with a barrier, which brings
//     the session's member up to all that was answered before; the events of
//     other sessions' writes have come by then, before the barrier's reply. The
//     barrier is a write, the delete of a node that does not exist: a sync waits
//     for nothing at ZooKeeper's leader, which may be behind what a follower has
//     answered.
//
// Where ZooKeeper judges a request by state that a pipelined predecessor has yet
// to change (the ACL after setACL, the figures of a quota), requests are sent
// one at a time, and the leader is made to apply each before the next.
//
// Not in the room: judging. Nothing here knows which of two outcomes is right.
package side
