// Package load is the traffic of the throughput cells: scripts that say what a
// connection sends and what has to come back, and a driver that sends it, closed
// loop or open, and counts what was answered in a window of time.
//
// Closed loop: every connection keeps a number of operations outstanding, and a
// latency counts from when the request was sent. A server that stalls is then
// asked less, and the stall shows in few latencies: throughput is what this mode
// is for. Open loop: operations are due at a fixed rate whatever the server does,
// and a latency counts from when the operation was due: what waits behind a stall
// is counted as waiting (this is what "coordinated omission" leaves out).
//
// A script that sees a wrong version, value, path or error returns an error, and
// that ends the run: a figure of a server that answers wrongly means nothing.
// What may not enter: processes, and which figures are good ones.
package load
