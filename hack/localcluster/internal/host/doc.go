// Package host is what is done outside of the cluster's namespaces: what has to
// be there before a cluster starts, the link to it, its start, its end, and
// looking into it.
package host
