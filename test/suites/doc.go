// Package suites runs what others have written to test their clients of
// ZooKeeper, against Conclave: kazoo's own tests (Debian's package) and
// go-zookeeper's (the module that go.mod names). Both start an ensemble
// themselves; what they start for ZooKeeper is Conclave here.
//
// A test that is known to fail is in the list with the reason; one that is in
// the list and passes is a failure, too. These tests wait with timeouts of
// their own, so one that fails is given a second chance alone.
package suites
