// Package parts builds the programs a cluster consists of, from the modules
// pinned under hack/localcluster/build, into a cache outside the clone.
//
// In the room: which program comes from which module with which flags, the
// cache's keys and its lock. Not in the room: what the programs are run for.
package parts
