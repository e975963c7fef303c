// Package shrink makes a failing list shorter, and a failing script.
//
// Not in the room: what makes it fail.
package shrink
