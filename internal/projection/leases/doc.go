// Package leases turns ephemeral nodes into coordination.k8s.io/v1 Leases: from
// what the mirror knows, the rules of spec.leases, and what exists, to a bounded
// list of writes.
//
// # Who holds
//
// A Node rule has a Lease for each ephemeral node that its path matches; the
// holder is the session that owns the node. An Election rule has one for each node
// with candidates: children that are ephemeral and whose names end in the digits
// that ZooKeeper appends to sequential nodes. The holder is the owner of the
// lowest, by that number alone, whatever stands before it: so do Curator's
// LeaderLatch and LeaderSelector (_c_<uuid>-latch-0000000001), kazoo's Election
// (<uuid>__lock__0000000001) and ZooKeeper's own recipe compare, each of which
// writes a random or a fixed word in front. Children that are not ephemeral, or
// not sequential, are no candidates: the recipes sort such a name behind the
// digits, or ignore it. (Curator would wait for ever behind a persistent child
// that sorts first; nobody leads then, and the Lease shows the first who could.)
// For a lock that several can hold for reading, the Lease shows the first in line.
//
// The number is a signed one of 32 bits: after 2147483647 ZooKeeper goes on with
// -2147483648, which is lower. We compare numbers. Recipes that compare text
// (Curator, kazoo) take a later negative one for the lower, so that two of their
// candidates believe to lead; two of any directory's 2^31st child on is a broken
// election in any case.
//
// # What a Lease says
//
// It is what client-go's leader election would have written for the holder:
// acquireTime is when it became holder, leaseTransitions rises by one with each
// change of holder (also those that were over before they could be written),
// renewTime moves while the leader of the ensemble confirms that the holder holds,
// and leaseDurationSeconds is for how long to believe that. So whoever follows a
// Lease as client-go does, comparing what it reads with what it read before by its
// own clock, sees it run out after the ensemble has lost its quorum or the operator
// its life, and not while both do their work. An election without candidates
// leaves what client-go's release leaves: an empty holder and a duration of one
// second. A node's Lease goes with its node.
//
// A holder is a node by its path and czxid, and, where the holder's name comes from
// the node's data, that name. A session's or a pod's name does not change while it
// holds, but that a pod may have to be known first: one that has just started has no
// address in Kubernetes yet. Until then its session stands for it, and neither token
// nor transitions change with the name. The fencing token is the node's czxid.
// Where that would not rise (the data of a node named somebody else, or a node with
// a lower number was made by hand and is gone again), it is the zxid of the
// transaction that brought the change: it rises strictly at each, always.
//
// # When nobody knows
//
// Without a quorum, or without the stream, holders stay as they are, renewTime
// stops, and nothing is written but the removal of what no rule selects any more.
//
// # How much is written
//
// All writes of an operator go through one Budget. In the order of urgency: changes
// of holders; Leases that have run out though their holders hold; new Leases; what
// was edited by hand; renewals; removals of what no rule selects. Each has a share
// that the others can't take, so that neither churn nor a cold start lets healthy
// Leases run out. A Lease whose holder changes all the time is written now and then,
// with all changes since. Renewals take turns in a third of the duration that the
// rules ask for; with so many Leases that this would be too much, more slowly, and
// the duration is longer.
//
// In the room: decisions. Not in the room: the API server, watches, goroutines.
package leases
