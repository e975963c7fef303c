// Package conformance runs genuine ZooKeeper clients against a three-member
// ensemble and holds Conclave to what they saw from Apache ZooKeeper.
//
// Every test here passes against ZooKeeper 3.8 first; only then may it say
// anything about Conclave. The same tests, configuration files and clients run
// against either, chosen by CONFORMANCE_TARGET. README.md says how.
//
// The tests carry the build tag "conformance", so that a plain `go test ./...`
// needs no JDK, no C compiler and no ZooKeeper. What lives here: Go tests and
// the drivers of the Java and C programs beside them. What may not enter:
// anything of Conclave's own packages. The suite speaks to the server only over
// the network, with codecs that are not the server's, so that a mistake cannot
// be made on both sides at once.
package conformance
