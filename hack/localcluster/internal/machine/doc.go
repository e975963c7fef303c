// Package machine is what runs inside the namespaces: the yard, with the
// control plane and the bridge, and the nodes.
//
// In the room: mounts, links, cgroups, and the components' configurations and
// command lines. Not in the room: anything done on the machine outside; that is
// package host.
package machine
