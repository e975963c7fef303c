// Package watch holds the watch tables of one member: who, among the
// connections of this member, wants to hear of which path.
//
// In the room: the four kinds of watches, which of them a change of the tree
// fires and which stay, and reports for the operator. The tables are volatile:
// they belong to connections, are never replicated and are never part of a
// snapshot; a client that moves brings its watches along (setWatches).
//
// Not in the room: the tree, ACLs, encoding and sockets. Whether a watcher may
// see an event, and what its frame looks like, is decided by the callback that
// gets it.
//
// The events are those of ZooKeeper 3.8. Where 3.8 has defects that 3.9 has
// mended, the tables follow 3.9:
//
//   - Each kind is a watch of its own. In 3.8 a second watch of another kind on
//     the same path replaced the first, so that a getData with a watch turned a
//     persistent watch into a one-shot one (ZOOKEEPER-4466).
//   - Removing the types data and children removes one-shot watches only. In
//     3.8 it also cut one half off a persistent watch (ZOOKEEPER-4471).
//   - checkWatches asks about the connection that asks. In 3.8 it was enough
//     that anybody at all watched the path.
package watch
