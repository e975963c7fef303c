// Package faults breaks the local cluster in the ways in which clusters break,
// and mends it: cut-off pods and nodes, killed containers, nodes without power,
// full volumes. For tests.
//
// All of it is done from the machine, inside the nodes' namespaces, and so
// works whatever state the cluster is in. What was done to a node's network is
// gone when the node is stopped.
package faults
