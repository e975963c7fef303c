// Command leases measures what the operator makes of ephemeral nodes: how soon a
// Lease shows a change, how long ten thousand of them take from nothing, how much
// the operator writes whatever clients do, and what it needs for that.
//
// It runs beside the local cluster and looks at it from outside: owners speak the
// client protocol, holders are processes full of sessions, a client-go watch reads
// the Leases, and the API server's audit log says who has written what and when.
// While it measures it keeps account of who has to be shown as holder; in the end
// each Lease has to be right, none missing and none left over.
//
// What may not enter: the operator's packages. It sees what everybody can see.
package main
