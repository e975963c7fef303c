// Package cluster runs the ensembles that the bench compares: three members of
// Conclave or of Debian's ZooKeeper, both from the same zoo.cfg, both writing to
// the directory that the bench was given.
//
// It differs from the conformance suite's ensembles in what it is for: a JVM as
// Debian starts it, with its own choice of heap and compiler, ticks of two
// seconds, and data on a disk that the caller names. What may not enter: figures.
package cluster
