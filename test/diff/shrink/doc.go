// Package shrink makes a failing list shorter.
//
// Not in the room: what the list consists of, and what makes it fail.
package shrink
