// Package swarm is many clients that behave as client libraries do: each keeps a
// session alive with pings, notices when its connection is lost or silent, and
// attaches its session through the next server. On top of that it measures what
// the cells on sessions, watches and failures ask for.
//
// What may not enter: processes, and which figures are good ones.
package swarm
