// Package witness judges what Leases have shown by what two independent readers
// saw: one that watches the Leases as any program in Kubernetes does, and a
// ZooKeeper client that watches the nodes behind them. It takes nobody's word for
// who leads: which child is the lowest it works out itself.
//
// In the room: histories and what must hold of them, pure. Not in the room: who
// collects them, and anything of the operator's packages.
package witness
