// Package ensemble starts, stops, kills and pauses a three-member coordination
// ensemble on loopback, be it of Conclave or of Apache ZooKeeper: the same
// configuration files start either.
//
// Nothing here waits by sleeping a fixed time: every wait polls a condition and
// has a deadline. What may not enter: assertions about behaviour (they belong to
// the tests) and Conclave's own packages.
package ensemble
