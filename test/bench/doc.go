// Command bench measures Conclave beside Debian's ZooKeeper: three members of
// each, on this machine, from the same zoo.cfg, both syncing their logs before
// they acknowledge.
//
// The load generator is the project's own and speaks the protocol itself: package
// engine drives the connections, load and swarm are the clients, cells what is
// measured, report what it means. While it measures it checks the order of
// replies, versions, values and paths; a server that answers wrongly has no
// figures.
//
// What may not enter: Conclave's own packages. The server is a binary among
// others here.
package main
