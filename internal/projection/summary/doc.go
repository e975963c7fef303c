// Package summary is what Kubernetes is told of sessions: counts and the sessions at
// risk in status, and Events for those that have expired; and how often it is told.
//
// A session's change of state is in status within two seconds, and an idle
// ensemble's status is written a few times a minute, whatever its size: that among
// ten thousand healthy sessions now this one and now that one was silent for longest
// is not worth a write of its own. Events of single sessions are few; a storm of
// expiries is told as one.
//
// In the room: texts, and when they are due. Not in the room: the API server.
package summary
