// Package adminpb is the wire format of a member's admin API, generated from
// admin.proto by hack/generate.sh. It is a package of its own so that the
// operator and the kubectl plugin can import a client without the server's
// insides. Nothing in it but this file and admin.proto is written by hand.
package adminpb
