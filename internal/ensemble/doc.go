// Package ensemble asks the members of one cluster, each by itself, through
// their admin API.
//
// In the room: connections, deadlines, TLS, and what an answer or its absence
// means. Not in the room: decisions, and Kubernetes: members are known by the
// names of their pods and the addresses that they are reached at.
//
// Sub-package fake is a cluster in memory that behaves as the members do, for
// tests of what stands on this one.
package ensemble
