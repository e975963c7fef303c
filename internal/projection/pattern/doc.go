// Package pattern is the language of spec.leases: which paths a rule means, and
// what its Leases are called.
//
// A path pattern is a path in which an element can be
//
//   - any name
//     w*-*     a name in which each * is any letters, or none
//     {word}   any name; it is captured, and leaseName can use it
//     **       as the last element: one element or more
//
// Other elements mean themselves. A pattern never matches below /zookeeper, and
// there is no way to write a literal *, { or }: a wildcard matches them.
//
// A Lease's name is a template of letters and of {cluster}, {rule}, {name} (the
// last element of the path), {hash} (of the path) and captures. What comes out is
// made fit for a DNS subdomain, and if that changed it, made unique again by a
// hash: two paths never share a name because of it.
//
// In the room: strings. Not in the room: rules, nodes and Leases.
package pattern
