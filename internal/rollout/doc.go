// Package rollout plans rolling restarts: which member may go next, and what
// holds the others back, by name.
//
// Next is a pure function, as in package membership: it is given what is observed
// and returns the one next step, and nothing is remembered in between. What there
// is of a roll is in the StatefulSets: a template that the pods do not have yet,
// and a partition above which they may get it. A new template comes together with
// a partition above every pod, so that nothing moves by itself; Next lowers it, one
// pod at a time.
//
// A StatefulSet's partition goes from the highest ordinal down, so leadership goes
// to the lowest first, and from there to one that has been restarted before the
// lowest itself goes. A pod that is evicted in the middle returns on the revision
// that it had; with updateStrategy OnDelete it would return on the new one, and a
// bad image could take a second member. So the partition goes to 0 for good only
// when every pod is there and well on the new one.
//
// A pod that does not run at all can lose nothing: it is restarted whatever the
// others do, so that an edit heals what an edit has broken. Nor can an ensemble whose
// majority does not run: then those that do go as well. What an edit can't heal is a
// pod that does not run below one that does, as long as there is a quorum: a
// partition can't let the lower one go first. Somebody has to delete the StatefulSet
// and let the pods live; the one that is made in its place has no revision but the
// wanted one.
//
// In the room: pure planning. Not in the room: carrying a step out.
package rollout
