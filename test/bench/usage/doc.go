// Package usage reads what processes cost: processor time and memory, of this
// process, of others by their ids, and of the whole machine.
//
// What may not enter: anything but reading /proc and getrusage.
package usage
