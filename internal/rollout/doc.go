// Package rollout plans rolling restarts: which member may go next, and what
// holds the others back, by name.
//
// In the room: pure planning. Not in the room: carrying a step out.
package rollout
