// Package fake is a coordination server for the bench's own tests: it keeps nodes
// in a map, answers on one connection after the other, and can be told to answer
// wrongly, so that a test can see that the generator notices.
//
// What may not enter: anything that a test of the bench does not ask for. It is
// no reference for behaviour.
package fake
