// Package membership plans changes of an ensemble's members: from what is
// observed to the one next step, with its reason, or why there is none.
//
// In the room: pure planning. Not in the room: carrying a step out.
package membership
