// Package generate makes scripts out of seeds: the same seed makes the same
// script, whatever any ensemble answers.
//
// Few paths, few sessions and few versions make for many collisions: most
// requests meet something that an earlier one has left, and about a third fail.
//
// What is known to have no determined outcome is left out: see the comments at
// the places that do. What ZooKeeper 3.8 is known to do wrong, so that
// everything behind it would differ too, is left out as well, and is the matter
// of the scripts in testdata/known.
//
// Not in the room: connections, outcomes, and any randomness but the seed's.
package generate
