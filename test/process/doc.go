// Package process holds tests of whole server processes on a real disk and
// behind real sockets: killed between any two steps of their files' lives, cut
// off from the power, out of space, fed with damaged files and with bytes that
// no client sends, told to stop.
//
// Two kinds of process run here. Where the disk has to fail at a chosen
// moment, the test binary executes itself as a member whose file system is
// wrapped (child_test.go, faultfs_test.go). Where it is the program that
// counts, its flags, messages and exit codes, it is conclave-server, built for
// the purpose (binary_test.go).
//
// The tests speak to either over the network alone, in package wire's words,
// and know the layout of the data directory only where they damage it. What
// may not enter: waiting by time alone, fixed ports, and any look into a
// server's memory.
//
// By default a bounded choice of crash points runs, chosen by a seed that is
// printed. PROCESS_SEED chooses the seed; PROCESS_ALL=1 runs every point.
package process
