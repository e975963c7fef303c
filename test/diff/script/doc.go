// Package script is the language in which the differential test says what
// several sessions do to an ensemble: a list of steps, each of one session, with
// a text form that a person can read, shrink by hand and keep as a regression.
//
//	s0 open member=1
//	s0 create @/a data="x" acl=open mode=0
//	 + getData @/a watch
//	s1 open member=3
//	s1 setData @/a data="y" version=-1
//	s1 close
//
// A line that begins with a plus belongs to the step above it: its operations
// are sent in one packet. "@" is the directory that the steps have to themselves,
// "%" the place below /zookeeper/quota that belongs to it. A line that begins
// with # is a comment.
//
// In the room: steps, operations, their text form and their bytes on the wire.
// Not in the room: connections, and any notion of what the outcome should be.
package script
