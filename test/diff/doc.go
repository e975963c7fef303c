// Package diff does the same to a genuine ZooKeeper ensemble and to a Conclave
// ensemble, and compares everything that comes back: replies, stats, errors,
// watch events and their order, zxids by order.
//
// The tests have the build tag diff, since they need Debian's zookeeper package
// (test/conformance/setup.sh) and time. `make test-diff` runs them. What is to
// be done is a script (package script), made from a seed (generate), done to
// each side by itself (side), held together (compare), and cut down to a few
// lines when there is a difference (shrink).
//
// In testdata, regressions are scripts on which the two once differed, and known
// are those on which they do and may: each says why.
package diff
