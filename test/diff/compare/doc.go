// Package compare holds what ZooKeeper has answered against what Conclave has.
//
// In the room: the order of zxids, the comparison of frames, and the table of
// differences that are expected wherever they turn up (known.go). Differences
// after which everything else would differ too are not here: the generator
// avoids them, and testdata/known shows them one by one.
//
// Not in the room: connections and scripts.
package compare
