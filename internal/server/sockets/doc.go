// Package sockets drives many TCP connections from few goroutines.
//
// A goroutine for each connection costs a member of tens of thousands of
// sessions a stack for each, two system calls for each request instead of one
// (the runtime's poller reads until there is nothing), and a switch of
// goroutines. Here a Loop asks the kernel for all sockets that have something,
// reads each once, and tells its owner when it is through with them, so that
// what their clients have asked for travels together.
//
// The room knows file descriptors, readiness and buffers. What the bytes mean
// may not enter: that is the Handler's.
package sockets
