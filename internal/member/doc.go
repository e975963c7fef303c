// Package member puts one member together and runs it: the data directory, the
// formation or joining of the ensemble, the replica, the server, the surfaces
// for people and monitoring, and the way down.
//
// In the room: the order in which these start and stop, and the answers to
// admin.Source, which are gathered from all of them. Not in the room: any rule
// of the protocol, of replication or of the configuration file.
package member
