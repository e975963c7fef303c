// Package faults runs ensembles of real conclave-server processes, each in a
// network namespace of its own, under load from genuine clients, and breaks
// things: processes are killed and stopped, networks cut in one direction or
// both, disks filled and exchanged for older ones, members added and removed,
// leadership handed over. What the clients saw is noted on the wire (package
// history) and judged afterwards (package check).
//
// `make test-faults` runs it; it needs root and iproute2, and leaves nothing
// behind: the test enters namespaces of its own, which end with it. Each test
// ends mended: all members agree, every client goes on, nothing acknowledged is
// missing. FAULTS_SECONDS is how long each storm lasts, FAULTS_SEED what it
// does. What failed is kept: the history, the members' directories and logs.
//
// In the room: processes, networks, disks and what is done to them. Not in the
// room: judgement, and anything that reaches into a server but through its
// ports and its admin API.
package faults
