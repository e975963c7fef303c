// Package tree holds the znodes: names, data, stats, ACLs and who owns what.
//
// In the room: mechanisms. A [Tree] creates, changes and deletes nodes, undoes
// what a failed multi has done, keeps a digest of its contents, and hands out
// and takes back one consistent snapshot while it goes on changing. Beside it
// stand the two small languages that belong to znodes: paths ([ValidatePath])
// and quota records ([ParseQuota]). All of it is deterministic: the same calls
// make the same tree, the same [NodeID] values and the same snapshot bytes on
// every member, however a member came by its state. (The index places nodes by a
// secret of the process, against clients that choose names to slow it down.
// Nothing that comes out of the package shows it.)
//
// Not in the room: I/O, clocks, goroutines, locks, and any opinion on whether a
// request is allowed. Times and zxids come in as arguments; requests are
// checked by package statemachine, the only writer. A call that its caller
// should have refused (deleting a node that has children, say) panics.
//
// # Locking
//
// The caller holds a sync.RWMutex. Methods that only look may run concurrently
// under the read lock; everything else needs the write lock, and a transaction
// ([Tree.Begin] to [Tree.Commit] or [Tree.Rollback]) stays within one hold of
// it. [Snapshot.Next] needs the read lock only, from one goroutine at a time.
//
// # Memory
//
// A million nodes are a million reasons for a garbage collector to stay away.
// Nodes are structs without pointers in chunks of 1024, addressed by NodeID.
// A node's name and data share one block of a slab arena whose chunks hold no
// pointers either. Finding a node goes through one hash index over whole paths
// that grows a bucket at a time. ACLs are interned: there are few of them.
package tree
