// Package disk measures what a sync to the disk takes when three processes do it
// at the same time: the least that a write to three members on one disk can cost.
//
// What may not enter: servers.
package disk
