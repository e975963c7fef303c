// Package vfs is the only door between a member's durable state and the disk.
//
// The room holds one small interface (FS, File), its Linux implementation
// (OS) and an implementation in memory (Mem) that keeps apart what a program
// has written and what a disk would still have after the power went, so that
// everything above can be run under injected faults, in one goroutine and from
// one seed.
//
// What may not enter: anything that knows what the bytes mean, goroutines,
// clocks, and randomness that the caller did not hand in.
package vfs
