// Package pace says when status may be written, or an Event be left, of all clusters
// that an operator looks after: so many times a second, and each in its turn.
//
// In the room: who is next. Not in the room: what is written, what is worth it, and
// what can't wait; whoever writes knows that. Nothing here waits, and the clock is
// an argument: who has no turn yet is told when to ask again.
package pace
