// Package formation turns a static configuration (the server.N lines of
// ZooKeeper's configuration file) into exactly one ensemble.
//
// In the room: the decision. A single-decree Paxos over the configured voters,
// as a pure core: Acceptor and Former, with their messages and the encoding of
// these; and a thin Node that joins the core to calls, a disk and a clock that
// are handed to it.
//
// Not in the room: sockets, files, raft. What it decides is a Value: the
// cluster id and who the founding voters are; what is made of it is the
// replica's business. How a member joins an ensemble that exists is the
// replica's business too; the messages for it are here because an empty member
// has no others.
package formation
