// Package mirror is the operator's copy of an ensemble's sessions and ephemeral
// nodes, as the leader's stream tells them, and says whether the copy may be taken
// for the present.
//
// A whole (a snapshot) is collected beside the copy and takes its place at once:
// nobody sees half of one. What differs comes out as a Delta, as it does for
// changes, so that whoever derives something from the copy needs no other way.
//
// A hundred thousand sessions fit in some fifteen megabytes: sessions are records
// without pointers in one slice, found through a map of indexes.
//
// In the room: what the stream said. Not in the room: connections to members, and
// anything of Kubernetes.
package mirror
