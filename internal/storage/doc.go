// Package storage is the durable side of a member: the write-ahead log of raft
// entries and votes (Log), the snapshots that allow the log to forget
// (SnapshotStore), who the member is (IdentityFile), and the directory that
// holds the three and keeps a second process out (Dir).
//
// Everything is synchronous: no goroutine is started here, every call does its
// work before it returns, and every byte goes through package vfs. So a whole
// ensemble can run in one goroutine under one seed, with a disk that tears
// writes, fails and fills up.
//
// That is also why the log is our own. etcd's server/storage/wal is bound to
// *os.File and flock (fileutil.LockedFile), starts a goroutine that allocates
// files ahead (filePipeline), and comes with etcd's server module. Pebble's
// record.LogWriter does write to an injected file system, but owns a flushing
// goroutine to which every sync is handed (flushLoop). Neither can be stepped
// by a scheduler of ours.
//
// What may not enter: what entries and snapshots mean (package statemachine),
// when to write them (package replica), clocks, goroutines, and any file access
// around package vfs.
package storage
