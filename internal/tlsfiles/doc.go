// Package tlsfiles holds a member's key, its certificate and the authorities
// that it trusts, as three files in a directory that somebody else renews.
//
// In the room: reading the files, looking now and then whether they have
// changed, and TLS configurations for both ends of a connection that take what
// is newest for each handshake. TLS 1.3 and nothing older, always with
// certificates on both sides; who is meant is said by one name for a whole
// ensemble, and what for by a role in the certificate.
//
// Not in the room: making certificates, sockets, and any goroutine: the files
// are looked at when there is a handshake to do.
package tlsfiles
