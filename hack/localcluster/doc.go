// Command localcluster builds and runs a real Kubernetes of one to five nodes
// on this machine, without a container engine, a registry or virtual machines.
// docs/development.md says how to use it.
//
// The cluster is one tree of processes. At its root stands the yard: a process
// with pid, mount, network, UTS and IPC namespaces of its own, the control plane
// and the bridge in them. It starts the nodes, each once more in namespaces of
// its own. Killing the yard therefore ends everything, and what it mounted and
// configured goes with its namespaces.
//
// The rooms: internal/parts builds the programs; internal/layout has all names,
// addresses and paths; internal/pki the certificates; internal/supervise starts
// processes and writes down how they end; internal/machine runs inside the
// namespaces; internal/host outside of them. faults is for tests.
package main
