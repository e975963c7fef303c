// Package stream translates between the admin API's WatchSessions and the mirror.
//
// In the room: messages. Not in the room: connections.
package stream
