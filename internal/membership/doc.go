// Package membership plans changes of an ensemble's members: from what is
// observed to the one next step, with its reason, or why there is none.
//
// Next is a pure function. It is given the pods, what each member says of
// itself, and what the operator has latched in status; it returns one step. The
// caller carries that step out, or fails to, or dies half way: the next pass
// observes again, and nothing is remembered in between but the latches. So each
// step is one that may be repeated, and one whose outcome shows in what is
// observed.
//
// The rules that it keeps:
//
//   - An ensemble is made once. Before that, every pod and every volume that
//     there is has been asked, and was found empty; the ids of the ensemble and
//     of its first member are latched before the one call. A member that does
//     not answer is never taken for one that has no data.
//   - Pods come before members and go after them: a pod is taken away only once
//     the leader's own, committed membership does not name it.
//   - An even number of voters is worse than the odd one below it: the same
//     failures end it, and there is one more machine to fail. So learners come
//     first and are promoted in twos when both have caught up, and voters go in
//     twos. In between, the step under way is finished before anything else.
//   - A voter is removed only while all that stay are in sync, and would be a
//     majority that answers at each point of the way.
//   - Without a quorum nothing is changed. What is missing is said, with the
//     evidence.
//
// In the room: pure planning. Not in the room: carrying a step out.
package membership
