// Package plugin is kubectl conclave: what a person asks about a cluster, from
// the command line.
//
// It shows, and changes nothing. What it needs of Kubernetes is what the person
// may do there: status reads the CoordinationCluster; ls, get and stat go to a
// member's client port through the API server's port-forward (create on
// pods/portforward), as any ZooKeeper client, so that ACLs hold; nothing has to be
// exposed. sessions, ephemerals and who go the same way to the leader's admin port,
// which speaks mutual TLS: for that the person must be allowed to get the Secret
// CLUSTER-reader, whose certificate may look at sessions and change nothing. The key
// of the cluster's authority is never read here.
//
// In the room: commands, and what they print, with the world outside behind
// interfaces; and that world, made of a kubeconfig. Not in the room: anything that
// the operator does.
package plugin
